"""What a benchmark is of: a model, and images to send to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ait_lite.checkpoint import bundled_models
from service.benchmark.images import make_images, read_images
from service.repository.folders import ModelError, ModelFolder, locate


def images_to_send(images: Path | None, folder: ModelFolder) -> list[bytes]:
    """Read the JPEG files of a folder; without one make some, twice as large as the model's input.

    Raises:
        ImagesError: The folder has no image that can be used.
    """
    return read_images(images) if images else make_images(*_twice_the_input(folder))


@contextmanager
def served_folder(reference: str | None) -> Iterator[ModelFolder]:
    """Yield the folder of a model; for the name of an architecture, a temporary one with random weights."""
    import timm

    import ait  # noqa: F401  registers the architectures

    try:
        # Small images show what the service costs; a model of photographs would hide it.
        folder = locate(reference or next((name for name in bundled_models() if name.startswith("ait_")), None))
    except ModelError:
        if reference is None or not timm.is_model(reference):
            raise
    else:
        yield folder
        return
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / reference
        model = timm.create_model(reference)
        timm.models.save_for_hf(model, str(path), safe_serialization=True)
        yield locate(path)


def _twice_the_input(folder: ModelFolder) -> tuple[int, int]:
    """Return twice the width and twice the height of the model's input, in pixels."""
    _, height, width = (folder.config.get("pretrained_cfg") or {}).get("input_size") or (3, 224, 224)
    return 2 * width, 2 * height
