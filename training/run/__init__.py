"""A training run from its recipe to its folder: epochs, validation, checkpoints, resuming."""
