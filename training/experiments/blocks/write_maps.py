"""What each prior's write gates read, epoch after epoch (arXiv 2309.12862, section 3.2).

A small AiT is trained on drawn shapes, or on images of one's own, and its gates on one batch of test images are kept
after some epochs: where in an image a prior reads, and how much the priors differ in that. Both memories are trained,
the published one and the one that models have by default.
"""

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from ait.associative_transformer import AssociativeTransformer
from ait.interpret.write_map import write_maps
from training.experiments import style
from training.experiments.familiarity.images import folder_images, shape_images
from training.experiments.outcome import Check, Outcome
from training.experiments.small_model import train_small_model
from training.experiments.tables.markdown import table

MEMORIES: Final = ("published", "orthogonal")
_SHOWN, _RATE = 6, 2e-3


def train_and_look(
    memory: str, images: Tensor, labels: Tensor, batch: Tensor, epochs: int, kept: tuple[int, ...], seed: int
) -> dict[int, Tensor]:
    """Train a small AiT of two blocks.

    Args:
        memory: Its named memory.
        images: Shape (N, C, S, S).
        labels: Shape (N,).
        batch: Images whose tokens compete, shape (B, C, S, S).
        epochs: Passes over the images.
        kept: Epochs after which the gates are kept; 0 is before the first.
        seed: Of the start and the order.

    Returns:
        By epoch, the share that each patch of the batch has of each prior's gates, shape (2, M, B, N).
    """
    found: dict[int, Tensor] = {}

    def look(epoch: int, model: AssociativeTransformer) -> None:
        if epoch in kept:
            found[epoch] = write_maps(model, batch)

    patch = images.shape[-1] // 8
    train_small_model(images, labels, epochs, _RATE, seed, patch_size=patch, memory=memory, after_epoch=look)
    return found


def overlap(maps: Tensor) -> float:
    """Compute the mean cosine between what two priors read, (M, B, N); 1 where all read alike."""
    unit = F.normalize(maps.flatten(1), dim=1)
    count = len(unit)
    return float(((unit @ unit.mT).sum() - count) / (count * (count - 1)))


def run(full: bool = False, seed: int = 0, data: Path | None = None) -> Outcome:
    """Train with each memory, and draw the gates of the last block.

    Args:
        full: More images and epochs.
        seed: Seed of everything random.
        data: Folder with splits of class folders, such as CIFAR-10's; None: drawn shapes.
    """
    each = 800 if full else 200
    kept = (0, 1, 4, 16) if full else (0, 1, 2, 6)
    if data is None:
        generator = torch.Generator().manual_seed(seed)
        images, labels, others = *shape_images(each, generator), shape_images(8, generator)[0]
    else:
        images, labels, others, _ = folder_images(data, each)
        others = others[:: max(1, len(others) // 80)][:80]
    found = {memory: train_and_look(memory, images, labels, others, kept[-1], kept, seed) for memory in MEMORIES}
    overlaps = {memory: {epoch: overlap(maps[-1]) for epoch, maps in each.items()} for memory, each in found.items()}
    sums = torch.stack([maps.sum((-2, -1)) for each in found.values() for maps in each.values()])
    checks = [
        Check("sum of a prior's gates, furthest from 1", float((sums - 1).abs().max()), 0.0, 1e-4, 0.0),
        Check(
            f"overlap of two priors after {kept[-1]} epochs: published less orthogonal",
            overlaps["published"][kept[-1]] - overlaps["orthogonal"][kept[-1]],
            0.0,
            1.0,
        ),
    ]
    figure, panels = style.new_figure(columns=_SHOWN, rows=len(MEMORIES) * len(kept))
    side = 8
    for row, (memory, epoch) in enumerate((memory, epoch) for memory in MEMORIES for epoch in kept):
        for prior, axes in enumerate(panels[row * _SHOWN : (row + 1) * _SHOWN]):
            # Mean over images, against what a patch would have if all were read alike.
            place = found[memory][epoch][-1, prior].sum(0).unflatten(0, (side, side)) * side**2
            axes.imshow(place, cmap=style.HEATMAP, vmin=0, vmax=4)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.set_title(f"{memory}, epoch {epoch}, prior {prior}", fontsize=8)
    figure.set_size_inches(1.7 * _SHOWN, 1.8 * len(MEMORIES) * len(kept))
    figures = {
        "overlap of two priors": {memory: {str(e): value for e, value in each.items()} for memory, each in
                                  overlaps.items()},
        "gates by place": {
            memory: {str(epoch): maps[-1].sum(1).tolist() for epoch, maps in each.items()}
            for memory, each in found.items()
        },
    }  # fmt: skip
    text = "Mean cosine between what two priors of the last block read, "
    text += "of drawn shapes" if data is None else f"of images of {data.name}"
    text += f", {each} a class:\n\n"
    text += table(
        ["memory", *(f"epoch {epoch}" if epoch else "untrained" for epoch in kept)],
        [[memory, *(f"{overlaps[memory][epoch]:.2f}" for epoch in kept)] for memory in MEMORIES],
    )
    return Outcome("Where the gates of the last block's priors read", checks, figure, figures, f"{text}\n")
