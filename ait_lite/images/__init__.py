"""Images, from bytes of unknown origin to a model's input: the same wherever an image is looked at."""
