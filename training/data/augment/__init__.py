"""Random changes of training images: each is a function of seed and step."""
