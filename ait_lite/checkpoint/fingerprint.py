"""A fingerprint of what a checkpoint makes of images: its weights and its preprocessing."""

import hashlib
import json
from pathlib import Path
from typing import Final

from ait_lite.checkpoint.config import read_config
from ait_lite.checkpoint.constants import WEIGHTS
from ait_lite.checkpoint.errors import CheckpointError

# What decides which numbers a model gets and what it makes of them. Class names, temperature and metrics do not.
_PREPROCESSING: Final = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
_MODEL: Final = ("architecture", "model_args", "global_pool")


def fingerprint(folder: Path) -> str:
    """Compute the fingerprint of a checkpoint folder.

    Feature vectors of two checkpoints can be compared if their fingerprints are equal.

    Args:
        folder: The checkpoint folder.

    Returns:
        SHA-256 in hexadecimal, over architecture, preprocessing and the bytes of the weights.

    Raises:
        CheckpointError: The configuration or the weights cannot be read.
    """
    config = read_config(folder)
    preprocessing = config.get("pretrained_cfg") or {}
    about = [[key, config.get(key)] for key in _MODEL] + [[key, preprocessing.get(key)] for key in _PREPROCESSING]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    try:
        with (folder / WEIGHTS).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise CheckpointError(
            f"{folder / WEIGHTS} cannot be read: {error.strerror}. Export the model again."
        ) from error
    return digest.hexdigest()
