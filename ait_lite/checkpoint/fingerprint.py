"""A fingerprint of what a checkpoint makes of images: its weights and its preprocessing."""

import hashlib
import json
import re
from pathlib import Path
from typing import Final

from ait_lite.checkpoint.config import read_config, read_object
from ait_lite.checkpoint.constants import MANIFEST, MOST_MANIFEST_BYTES, WEIGHTS
from ait_lite.checkpoint.errors import CheckpointError

# What decides which numbers a model gets and what it makes of them. Class names, temperature and metrics do not.
_PREPROCESSING: Final = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
_MODEL: Final = ("architecture", "model_args", "global_pool")


def fingerprint(folder: Path) -> str:
    """Compute the fingerprint of a checkpoint folder.

    Feature vectors of two checkpoints can be compared if their fingerprints are equal. A prepared model, which has a
    graph in place of the weights, has the fingerprint of the checkpoint that it was made from.

    Args:
        folder: The folder of the checkpoint or of the prepared model.

    Returns:
        SHA-256 in hexadecimal, over architecture, preprocessing and the digest of the weights.

    Raises:
        CheckpointError: The configuration or the weights cannot be read.
    """
    config = read_config(folder)
    preprocessing = config.get("pretrained_cfg") or {}
    about = [[key, config.get(key)] for key in _MODEL] + [[key, preprocessing.get(key)] for key in _PREPROCESSING]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(_weights_digest(folder))
    return digest.hexdigest()


def _weights_digest(folder: Path) -> bytes:
    """Compute the SHA-256 of the weights; where there is a graph alone, take that of what it was made of."""
    weights, manifest = folder / WEIGHTS, folder / MANIFEST
    if not weights.exists() and manifest.exists():
        return _noted_digest(manifest)
    try:
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise CheckpointError(f"{weights} cannot be read: {error.strerror}. Export the model again.") from error


def _noted_digest(manifest: Path) -> bytes:
    remedy = "Export the model again with `ait export CHECKPOINT FOLDER --format serving`."
    noted = read_object(manifest, MOST_MANIFEST_BYTES, remedy).get("weights")
    if not isinstance(noted, str) or not re.fullmatch("[0-9a-f]{64}", noted):
        raise CheckpointError(f"{manifest} does not say which weights the graph was made of. {remedy}")
    return bytes.fromhex(noted)
