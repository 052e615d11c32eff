"""Draw the images that fire each key of a feed-forward network most."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure
from torch import Tensor

from ait.interpret.feed_forward import FeedForwardMemory

_KEYS = 12  # drawn per network


def draw_keys(memory: FeedForwardMemory, images: Tensor, path: Path, captions: Sequence[str] = ()) -> None:
    """Draw the keys with the strongest activations, a row each: the images that fire it most.

    Args:
        memory: One network of `ait.interpret.feed_forward.feed_forward_report`.
        images: The images that it was made from, shape (B, C, H, W), uint8.
        path: The PNG file.
        captions: A word on each image, such as its class; empty for none.

    Raises:
        OSError: The file cannot be written.
    """
    chosen = memory.order()[:_KEYS].tolist()
    columns = memory.strongest.shape[1]
    figure = matplotlib.figure.Figure(figsize=(1.1 * columns + 1.2, 1.3 * len(chosen) + 0.6), layout="constrained")
    grid = figure.subplots(len(chosen), columns, squeeze=False)
    for row, key in enumerate(chosen):
        for column in range(columns):
            index, axes = int(memory.strongest[key, column]), grid[row, column]
            shown = images[index, :3].permute(1, 2, 0).numpy()
            axes.imshow(shown, cmap="gray" if shown.shape[2] == 1 else None)
            axes.set(xticks=[], yticks=[])
            caption = captions[index] if captions else ""
            axes.set_title(f"{caption} {memory.activations[key, column]:.1f}".strip(), fontsize=7)
        grid[row, 0].set_ylabel(f"key {key}\nin {memory.share[key]:.0%}", fontsize=7)
    figure.suptitle(
        f"{memory.name}: {memory.keys} keys, {memory.dead:.0%} dead, SNR {memory.snr:.2f}; images that fire each most",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)
