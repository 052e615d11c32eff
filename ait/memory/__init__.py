"""Associative memories as plain tensors and small modules."""

from ait.memory.explicit import WRITE_RULES, ExplicitMemory
from ait.memory.hopfield import HopfieldRetrieval, energy, recall_weights, retrieve
from ait_lite.class_memory import ClassMemory

__all__ = [
    "WRITE_RULES",
    "ClassMemory",
    "ExplicitMemory",
    "HopfieldRetrieval",
    "energy",
    "recall_weights",
    "retrieve",
]
