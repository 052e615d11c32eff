"""The runtimes that a model can be served in, and the choice among them."""
