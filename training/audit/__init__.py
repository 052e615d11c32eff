"""Audit the images that a model is trained and tested on: copies across splits, doubtful labels, memorisation."""

from training.audit.audit import Audit, audit

__all__ = ["Audit", "audit"]
