"""Layers that wrap every request."""
