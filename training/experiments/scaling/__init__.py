"""Scaling laws of outer-product memories (arXiv 2310.02984)."""
