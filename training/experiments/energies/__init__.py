"""Energies and stored patterns (arXiv 2405.08707)."""
