"""Experiments of the companion papers, each of which checks its figures against theory."""

from training.experiments.outcome import Check, Outcome
from training.experiments.run import EXPERIMENTS, run_experiment

__all__ = ["EXPERIMENTS", "Check", "Outcome", "run_experiment"]
