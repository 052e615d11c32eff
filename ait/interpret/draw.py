"""Draw what a model's memory does on one image, and what its priors stand for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ait.associative_model import AssociativeModel
from ait.interpret.memory_report import BlockMemory, answer, memory_report
from ait.interpret.prior_map import PriorMap
from ait.memory.capacity import perplexity


def draw_memory(
    model: AssociativeModel,
    image: Image.Image,
    pixels: Tensor,
    path: str | Path,
    labels: Sequence[str] | None = None,
) -> list[BlockMemory]:
    """Draw, for every block: energies before and after retrieval, which priors patches recall, and how many.

    The model is read in evaluation mode and left in the mode it had; its memory is not written.

    Args:
        model: An AiT model.
        image: The image as it is.
        pixels: The same, normalised, shape (1, C, H, W).
        path: Where the PNG goes.
        labels: Class names, for the title.

    Returns:
        The report that was drawn.
    """
    report = memory_report(model, pixels)
    height, width = model.patch_embed.dynamic_feat_size((pixels.shape[-2], pixels.shape[-1]))
    figure = Figure(figsize=(15, 2.6 * len(report) + 0.9), layout="constrained")
    figure.suptitle(_title(model, pixels, labels))
    rows = figure.subplots(len(report), 6, squeeze=False, width_ratios=[1, 1, 1, 1, 1, 1.6])
    widest = max(float(perplexity(block.recall[0]).max()) for block in report)
    for index, (axes, block) in enumerate(zip(rows, report, strict=True)):
        recall = block.recall[0]  # (N, M)
        maps: list[tuple[str, Tensor, dict[str, Any]]] = [
            ("energy before", block.energy_before[0], {"cmap": "viridis"}),
            ("energy after", block.energy_after[0], {"cmap": "viridis"}),
            ("strongest prior", recall.argmax(-1), {"cmap": "nipy_spectral", "vmin": 0, "vmax": recall.shape[1] - 1}),
            ("priors recalled", perplexity(recall), {"cmap": "magma", "vmin": 1, "vmax": widest}),
        ]
        _show_image(axes[0], image, f"block {index}")
        for place, (title, values, style) in zip(axes[1:5], maps, strict=True):
            _show_map(figure, place, values.view(height, width), title, **style)
        _show_usage(axes[5], recall, block)
    figure.savefig(Path(path), dpi=110)
    return report


def draw_prior_map(found: PriorMap, path: str | Path, labels: Sequence[str] | None = None) -> None:
    """Draw the map of each block, accuracy without each prior, and accuracy against memory width.

    Args:
        found: What `prior_map` found.
        path: Where the PNG goes.
        labels: Class names.
    """
    count = len(found.shares)
    figure = Figure(figsize=(4.2 * (count + 1), 6.5), layout="constrained")
    panels = figure.subplots(2, count + 1, squeeze=False)
    for index in range(count):
        top, below = panels[:, index]
        drawn = top.imshow(found.shares[index], cmap="cividis", aspect="auto", vmin=0)
        top.set(title=f"block {index}: who recalls each prior", xlabel="class", ylabel="prior")
        if labels and len(labels) <= 20:
            top.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
        figure.colorbar(drawn, ax=top, shrink=0.8)
        below.bar(range(found.without.shape[1]), 100 * (found.accuracy - found.without[index]), color="#0072B2")
        below.axhline(0, color="#666666", linewidth=0.8)
        below.set(xlabel="prior removed", ylabel="accuracy lost, points")
    curve, empty = panels[:, count]
    curve.plot(range(len(found.kept)), found.by_width, "o-", color="#D55E00")
    curve.set_xticks(range(len(found.kept)), [str(n) for n in found.kept])
    curve.set(title="memory width", xlabel="priors kept in each block", ylabel="accuracy")
    empty.axis("off")
    figure.savefig(Path(path), dpi=110)


def _title(model: AssociativeModel, pixels: Tensor, labels: Sequence[str] | None) -> str:
    training = model.training
    with torch.no_grad():
        probabilities = answer(model.eval(), pixels).softmax(-1)[0]
    model.train(training)
    best = probabilities.topk(min(3, len(probabilities)))
    names = [labels[i] if labels else f"class {i}" for i in best.indices.tolist()]
    return ", ".join(f"{name} {share:.1%}" for name, share in zip(names, best.values.tolist(), strict=True))


def _show_image(axes: Any, image: Image.Image, title: str) -> None:
    axes.imshow(np.asarray(image.convert("RGB")))
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def _show_map(figure: Figure, axes: Any, values: Tensor, title: str, **style: Any) -> None:
    drawn = axes.imshow(values.numpy(), **style)
    axes.set_title(title, fontsize=9)
    axes.axis("off")
    figure.colorbar(drawn, ax=axes, shrink=0.8)


def _show_usage(axes: Any, recall: Tensor, block: BlockMemory) -> None:
    axes.bar(range(recall.shape[1]), recall.mean(0).numpy(), width=0.9)
    axes.set_title(
        f"share of recall; effective rank {block.effective_rank_priors:.1f},\n"
        f"{block.patch_perplexity:.1f} priors a patch, SNR {block.retrieval_snr:.2g}",
        fontsize=9,
    )
    axes.tick_params(labelsize=7)
    axes.set_xlabel("prior", fontsize=8)
