"""Measurements of the trainer's speed."""
