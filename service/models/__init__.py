"""The models that are served: which there are, and which versions answer."""
