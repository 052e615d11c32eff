"""Search the settings of a recipe with Optuna (arXiv 1907.10902): a run for each trial, the worse ones cut short."""
