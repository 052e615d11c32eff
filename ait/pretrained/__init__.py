"""Load trained models: those that come with the library, each a folder beside this module, and others."""

from pathlib import Path
from typing import Any

import timm
from torch import nn

from ait.pretrained.checkpoint import load_checkpoint
from ait.pretrained.hub import create_pretrained
from ait.pretrained.names import did_you_mean
from ait_lite.checkpoint import CONFIG, bundled_models, resolve


def load_model(reference: str | Path, **kwargs: Any) -> nn.Module:
    """Load a trained model in evaluation mode.

    Args:
        reference: Name of a bundled checkpoint, a timm ``local-dir`` folder such as the trainer writes, or the
            name of a timm model with pretrained weights, which timm downloads unless they are bundled.
        **kwargs: Further arguments of ``timm.create_model``.

    Raises:
        FileNotFoundError: There is no such checkpoint, and the message names those that are near; or the weights
            of a timm model are not here and cannot be downloaded.
        ait_lite.checkpoint.CheckpointError: As `load_checkpoint`.
    """
    folder = resolve(reference)
    if (folder / CONFIG).is_file():
        return load_checkpoint(folder, **kwargs)
    name = str(reference)
    if timm.is_model_pretrained(name):
        return create_pretrained(name, **kwargs).eval()
    if "." not in name and timm.is_model(name):
        raise FileNotFoundError(f"{name}: timm knows this architecture, but no pretrained weights of it.")
    names = ", ".join(bundled_models()) or "none"
    raise FileNotFoundError(
        f"{name}: neither a bundled model (there is: {names}) nor a folder with config.json and "
        f"model.safetensors, nor a timm model with pretrained weights{did_you_mean(name)}."
    )
