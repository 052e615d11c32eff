"""How good a model is on images: metrics, calibration, exemplars, reports."""
