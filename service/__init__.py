"""HTTP inference for image classifiers in timm `local-dir` folders."""
