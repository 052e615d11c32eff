"""Model folders on disk: which one a name or path means, and what its `config.json` says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


class ModelError(Exception):
    """A model that cannot be served; the message names the folder and the remedy."""


@dataclass(frozen=True)
class ModelFolder:
    """A timm `local-dir` folder and the name under which it is served."""

    name: str
    version: str
    path: Path
    config: dict[str, Any]

    @property
    def architecture(self) -> str:
        """The timm name of the architecture."""
        return str(self.config["architecture"])


def locate(reference: str | Path | None) -> ModelFolder:
    """Finds the folder of a model without loading its weights.

    Args:
        reference: a folder, the name of a bundled model, or None for the first bundled model. A folder called
            by a number is that version of the model its parent names; any other folder is version 1.

    Raises:
        ModelError: there is no such model, or its folder is incomplete.
    """
    from ait.pretrained import bundled_models

    bundled = bundled_models()
    if reference is None:
        if not bundled:
            raise ModelError(f"No model is bundled with this installation. {_remedy(bundled)}")
        reference = next(iter(bundled))
    if path := bundled.get(str(reference)):
        return ModelFolder(name=str(reference), version="1", path=path, config=_read_config(path))
    path = Path(reference).expanduser().resolve()
    if not path.is_dir():
        problem = "is not a folder" if path.exists() else "does not exist"
        raise ModelError(f"Model {str(reference)!r}: {path} {problem}. {_remedy(bundled)}")
    config = _read_config(path)
    name, version = (path.parent.name, path.name) if path.name.isdecimal() else (path.name, "1")
    return ModelFolder(name=name or "model", version=version, path=path, config=config)


def label_names(folder: ModelFolder, num_classes: int) -> list[str]:
    """Class names by index; a class without a name is called by its index.

    Raises:
        ModelError: the list of names does not fit the number of classes.
    """
    preprocessing = folder.config.get("pretrained_cfg") or {}
    named = folder.config.get("label_names") or preprocessing.get("label_names") or {}
    if isinstance(named, dict):  # index -> name, with gaps allowed; JSON makes the indices strings
        return [str(named.get(str(index), index)) for index in range(num_classes)]
    if not isinstance(named, list) or len(named) != num_classes:
        raise ModelError(
            f"{folder.path / CONFIG}: label_names must be a list of {num_classes} names, one for each class "
            "of the model. Correct it, or remove it to have the classes numbered."
        )
    return [str(name) for name in named]


def _read_config(path: Path) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise ModelError(
                f"{path} has no {name}. A model folder holds {CONFIG} and {WEIGHTS}, as the trainer exports them."
            )
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path / CONFIG} cannot be read: {error}. Export the model again.") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise ModelError(f"{path / CONFIG} does not name an architecture. Export the model again.")
    return config


def _remedy(bundled: dict[str, Path]) -> str:
    names = ", ".join(bundled) or "none"
    return f"Give a folder that holds {CONFIG} and {WEIGHTS}, or a bundled model (there is: {names})."
