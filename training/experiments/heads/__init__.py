"""Classifiers' heads compared."""
