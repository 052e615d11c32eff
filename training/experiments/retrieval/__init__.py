"""Kernels, update rules and DeltaFormer (arXiv 2505.19488)."""
