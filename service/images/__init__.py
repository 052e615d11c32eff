"""The bytes of an image, made the input of a model; and maps drawn over images."""
