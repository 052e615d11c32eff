"""Associative memories as plain tensors and small modules."""

from ait.memory.explicit import WRITE_RULES, ExplicitMemory
from ait.memory.hopfield import HopfieldRetrieval, energy, recall_weights, retrieve

__all__ = ["WRITE_RULES", "ExplicitMemory", "HopfieldRetrieval", "energy", "recall_weights", "retrieve"]
