"""Draw the reliability diagram: accuracy against confidence."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from training.evaluation.calibration import Reliability
from training.evaluation.report.figure import save_figure


def draw_reliability(reliability: Reliability, path: Path, title: str = "") -> None:
    """Draw the accuracy of answers by their confidence, and how many there are.

    Args:
        reliability: Accuracy and confidence by bin.
        path: PNG file, replaced atomically.
        title: Of the figure.
    """
    images = reliability.images.numpy()
    held = images > 0
    accuracy, confidence = reliability.accuracy.numpy()[held], reliability.confidence.numpy()[held]
    edges = np.linspace(0, 1, len(images) + 1)
    middles = ((edges[:-1] + edges[1:]) / 2)[held]
    width = 1 / len(images)
    figure = Figure(figsize=(5.4, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    upper.bar(middles, accuracy, width=width, color="tab:blue", edgecolor="white", label="accuracy")
    upper.bar(
        middles,
        confidence - accuracy,
        bottom=accuracy,
        width=width,
        color="none",
        edgecolor="tab:red",
        hatch="///",
        linewidth=0.8,
        label="gap to the mean confidence",
    )
    upper.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="perfect calibration")
    upper.set(ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1), title=title or "reliability")
    upper.legend(fontsize="small", loc="upper left")
    upper.grid(alpha=0.3)
    lower.bar(((edges[:-1] + edges[1:]) / 2), images / images.sum(), width=width, color="tab:grey", edgecolor="white")
    lower.set(xlabel="confidence: probability of the first label", ylabel="share of images")
    lower.grid(alpha=0.3)
    for axis in (upper, lower):
        axis.set_axisbelow(True)
    save_figure(figure, path)
