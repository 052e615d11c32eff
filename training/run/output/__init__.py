"""The folder that a run writes: its lock, state, checkpoints, metrics and report."""
