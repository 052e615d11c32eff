"""Load trained models: those that come with the library, each a folder beside this module, and others."""

from pathlib import Path
from typing import Any

import timm
from torch import nn

from ait_lite.checkpoint import CONFIG, bundled_models, resolve


def load_model(reference: str | Path, **kwargs: Any) -> nn.Module:
    """Load a trained model in evaluation mode.

    Args:
        reference: Name of a bundled checkpoint, a timm ``local-dir`` folder such as the trainer writes, or the
            name of a timm model with pretrained weights, which timm downloads unless they are bundled.
        **kwargs: Further arguments of ``timm.create_model``.

    Raises:
        FileNotFoundError: There is no such checkpoint; the message lists the bundled ones.
    """
    folder = resolve(reference)
    if (folder / CONFIG).is_file():
        return timm.create_model(f"local-dir:{folder}", pretrained=True, **kwargs).eval()
    if timm.is_model_pretrained(str(reference)):
        return timm.create_model(str(reference), pretrained=True, **kwargs).eval()
    names = ", ".join(bundled_models()) or "none"
    raise FileNotFoundError(
        f"{reference}: neither a bundled model (there is: {names}) nor a folder with config.json and "
        "model.safetensors, nor a timm model with pretrained weights."
    )
