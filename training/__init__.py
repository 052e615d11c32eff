"""Offline training: recipes, data, the training loop, checkpoints, evaluation and reports."""
