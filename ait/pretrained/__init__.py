"""Checkpoints that come with the library, each a timm ``local-dir`` folder beside this module."""

import json
import math
from collections.abc import Mapping
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
        reference: Name of a bundled checkpoint, a timm ``local-dir`` folder such as the trainer writes, or the
            name of a timm model with pretrained weights, which timm downloads unless they are bundled.
        **kwargs: Further arguments of ``timm.create_model``.

    Raises:
        FileNotFoundError: If there is no such checkpoint; the message lists the bundled ones.
    """
    folder = checkpoint_folder(reference)
    if folder is not None:
        return timm.create_model(f"local-dir:{folder}", pretrained=True, **kwargs).eval()
    if timm.is_model_pretrained(str(reference)):
        return timm.create_model(str(reference), pretrained=True, **kwargs).eval()
    names = ", ".join(bundled_models()) or "none"
    raise FileNotFoundError(
        f"{reference}: neither a bundled model (there is: {names}) nor a folder with config.json and "
        "model.safetensors, nor a timm model with pretrained weights."
    )


def checkpoint_folder(reference: str | Path) -> Path | None:
    """The folder of a bundled checkpoint or of one given by its path; None if it is neither."""
    folder = bundled_models().get(str(reference), Path(reference))
    return folder if (folder / "config.json").is_file() else None


def checkpoint_metrics(reference: str | Path) -> dict[str, Any]:
    """What a checkpoint's ``config.json`` keeps of how good the model is; empty if it says nothing."""
    metrics = checkpoint_config(reference).get("metrics")
    return dict(metrics) if isinstance(metrics, dict) else {}


def checkpoint_config(reference: str | Path) -> dict[str, Any]:
    """What a checkpoint's ``config.json`` holds; empty for weights that are no folder."""
    folder = checkpoint_folder(reference)
    return {} if folder is None else dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def checkpoint_temperature(config: Mapping[str, Any]) -> float | None:
    """The temperature that makes a checkpoint's confidence its accuracy: ``softmax(logits / temperature)``.

    Args:
        config: What the checkpoint's ``config.json`` holds.

    Returns:
        A positive number; None if the checkpoint carries none.

    Raises:
        ValueError: What it carries is no positive number.
    """
    value = config.get("temperature")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(
            f"temperature in config.json is {value!r}, not a positive number; run `ait calibrate` on the checkpoint, "
            "or remove it"
        )
    return float(value)


def label_names(model: nn.Module) -> tuple[str, ...]:
    """The class names that a model's configuration holds, by label; empty if it names none."""
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("label_names") or ()
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return tuple(str(name) for name in names)
