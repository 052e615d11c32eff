"""Measure models, runtimes and precisions beside each other on the same images."""
