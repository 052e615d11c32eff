"""Features of images, computed once: what a model's head reads, kept on disk by model and image.

The cache is a folder per model and preprocessing with files of a few hundred images each, so that a computation that
was stopped goes on where it was, and a run with more images computes the new ones alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ait_lite.checkpoint import atomic_file
from training.data import Preprocessing
from training.evaluation.backbone import Backbone
from training.evaluation.scoring import evaluation_rows
from training.model.ridge_head import linear_head

_PART: Final = 512  # images in a file

Take = Callable[[Tensor], Tensor]  # positions (n,) int64 -> (n, C, H, W) uint8


def features_of(
    model: nn.Module,
    backbone: Backbone,
    take: Take,
    count: int,
    preprocessing: Preprocessing,
    cache: Path,
    console: Console,
    title: str,
    model_args: Mapping[str, Any] | None = None,
) -> Tensor:
    """Compute what a model's head reads of images, or read it from the cache.

    Args:
        model: Put into evaluation mode and left so.
        backbone: Computes what the model's head reads.
        take: Gives images by position.
        count: How many there are.
        preprocessing: How they are normalised.
        cache: Folder of all cached features.
        console: Where progress is shown.
        title: Of the progress bar.
        model_args: What the model was made with beside its weights, such as the pooling, which no weight tells.

    Returns:
        (N, D) float32, on the CPU.

    Raises:
        OSError: The cache cannot be written.
        RecipeError: The model has no linear head.
    """
    width = linear_head(model).in_features
    folder = cache / _fingerprint(model, preprocessing, model_args or {})
    known = _read(folder, width)
    digests: list[bytes] = []
    rows_at_once = evaluation_rows(preprocessing)
    for positions in torch.arange(count).split(rows_at_once):
        digests += [hashlib.sha256(image.contiguous().numpy()).digest() for image in take(positions).cpu()]
    missing = list(dict.fromkeys(position for position, digest in enumerate(digests) if digest not in known))
    fresh: dict[bytes, Tensor] = {}
    if missing:
        console.print(f"{title}: {count - len(missing):,} of {count:,} images known from before", soft_wrap=True)
    model.eval()
    parts = torch.tensor(missing).split(rows_at_once) if missing else ()
    with torch.inference_mode():
        for positions in track(parts, title, console=console, transient=True, disable=not console.is_terminal):
            rows = backbone(preprocessing.normalise(take(positions).to(backbone.device)))
            fresh |= {digests[position]: row for position, row in zip(positions.tolist(), rows, strict=True)}
            if len(fresh) >= _PART:
                _write(folder, fresh)
                known |= fresh
                fresh = {}
    _write(folder, fresh)
    known |= fresh
    return torch.stack([known[digest] for digest in digests]).clone()


def _fingerprint(model: nn.Module, preprocessing: Preprocessing, model_args: Mapping[str, Any]) -> str:
    """Name a backbone and what its inputs go through; the head does not matter."""
    head = {id(parameter) for parameter in linear_head(model).parameters()}
    digest = hashlib.sha256(repr(sorted(preprocessing.data_config().items())).encode())
    if model_args:
        digest.update(json.dumps(dict(model_args), sort_keys=True, default=repr).encode())
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in head:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _read(folder: Path, width: int) -> dict[bytes, Tensor]:
    """Read all that is cached; a file that is torn or of another shape is left out, and computed anew."""
    known: dict[bytes, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            held = load_file(path)
            digests, features = held["digests"], held["features"]
        except (KeyError, OSError, SafetensorError):
            continue
        if features.ndim == 2 and features.shape[1] == width and digests.shape == (len(features), 32):
            known |= {bytes(digest): row for digest, row in zip(digests.numpy(), features, strict=True)}
    return known


def _write(folder: Path, fresh: Mapping[bytes, Tensor]) -> None:
    if not fresh:
        return
    folder.mkdir(parents=True, exist_ok=True)
    digests = np.frombuffer(b"".join(fresh), dtype=np.uint8).reshape(-1, 32)
    name = hashlib.sha256(digests.tobytes()).hexdigest()[:32]
    with atomic_file(folder / f"{name}.safetensors") as temporary:
        save_file(
            {"digests": torch.from_numpy(digests.copy()), "features": torch.stack(list(fresh.values()))}, temporary
        )
