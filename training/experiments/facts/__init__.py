"""Factual recall (arXiv 2412.06538)."""
