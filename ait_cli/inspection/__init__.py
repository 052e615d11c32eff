"""Commands that look into a model: what its memory, its layers and its training images are."""
