"""What goes wrong with checkpoint folders."""


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be used; the message names it and the remedy."""
