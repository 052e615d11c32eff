"""Checkpoints that come with the library, each a timm ``local-dir`` folder beside this module."""

from pathlib import Path
from typing import Any

import timm
from torch import nn


def bundled_models() -> dict[str, Path]:
    """The bundled checkpoints: name (architecture.tag) to folder, sorted by name."""
    here = Path(__file__).parent
    return {folder.name: folder for folder in sorted(here.iterdir()) if (folder / "config.json").is_file()}


def load_model(reference: str | Path, **kwargs: Any) -> nn.Module:
    """A trained model in evaluation mode.

    Args:
        reference: Name of a bundled checkpoint, or a timm ``local-dir`` folder such as the trainer writes.
        **kwargs: Further arguments of ``timm.create_model``.

    Raises:
        FileNotFoundError: If there is no such checkpoint; the message lists the bundled ones.
    """
    bundled = bundled_models()
    folder = bundled.get(str(reference), Path(reference))
    if not (folder / "config.json").is_file():
        names = ", ".join(bundled) or "none"
        raise FileNotFoundError(
            f"{reference}: neither a bundled model (there is: {names}) nor a folder with config.json and "
            "model.safetensors."
        )
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **kwargs).eval()
