"""The files of a prepared model: its graphs, what they are compared on, and a manifest that vouches for them.

``graph.json`` holds the length and the SHA-256 of every other file, and of the weights that the graph was made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ait_lite.checkpoint import MANIFEST, WEIGHTS, CheckpointError, write_text
from ait_lite.checkpoint.config import read_object
from ait_lite.checkpoint.constants import MOST_MANIFEST_BYTES
from ait_lite.runtimes.graph import Outputs

FORMAT: Final = "ait-graph-1"
GRAPH: Final = "graph.onnx"
QUANTISED: Final = "graph.int8.onnx"
REFERENCE: Final = "reference.safetensors"

MOST_REFERENCE_BYTES: Final = 64_000_000
_REMEDY = "Export the model again with `ait export CHECKPOINT FOLDER --format serving`."


class PreparedError(ValueError):
    """Files of a prepared model that cannot be used; the message names the folder and the remedy."""


@dataclass(frozen=True)
class Reference:
    """Inputs, and what the eager float32 model answers.

    Attributes:
        images: Uint8 (N, C, H, W), as `ait_lite.images.crop.Cropping` makes each.
        outputs: Of the eager model.
    """

    images: np.ndarray
    outputs: Outputs


@dataclass(frozen=True)
class PreparedModel:
    """A folder whose files are what its manifest says.

    Attributes:
        folder: Where they are.
        num_classes: Numbers in a row of logits.
        num_features: Numbers in a row of features; 0 without features.
        data_config: What `timm.data.resolve_model_data_config` says of the model, with statistics one a channel.
        weights: SHA-256 of the ``model.safetensors`` that it was made of; empty if it was made of none.
        made_with: Versions of the libraries that made it, by name.
        agreement: What comparing found where the model was made, by "runtime precision".
    """

    folder: Path
    num_classes: int
    num_features: int
    data_config: dict[str, Any]
    weights: str
    made_with: dict[str, str] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)

    def graph(self, precision: str) -> Path | None:
        """Find the file to run in a precision; None if it was not made."""
        path = self.folder / (QUANTISED if precision == "int8" else GRAPH)
        return path if path.is_file() else None

    def reference(self) -> Reference:
        """Read what the graphs are compared on.

        Raises:
            PreparedError: It cannot be read.
        """
        try:
            tensors = load_file(self.folder / REFERENCE)
            outputs = Outputs(tensors["logits"], tensors.get("features"))
            return Reference(tensors["images"], outputs)
        except (OSError, KeyError, SafetensorError) as error:
            raise PreparedError(f"{self.folder / REFERENCE} cannot be read ({error}). {_REMEDY}") from error


def is_prepared(folder: Path) -> bool:
    """Find out whether a folder seems to hold a prepared model; nothing is checked."""
    return (folder / MANIFEST).is_file()


def refuse_prepared(folder: Path) -> None:
    """Refuse a folder that holds the graphs of a model without its weights, for what needs these.

    Raises:
        CheckpointError: It is such a folder.
    """
    if is_prepared(folder) and not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} is a prepared model, which holds graphs for servers in place of weights: name the checkpoint "
            "that it was exported from, such as runs/mine/best"
        )


def read_prepared(folder: Path, *, weights: str | None = None) -> PreparedModel:
    """Read a prepared model, and check its files.

    Args:
        folder: That holds them.
        weights: SHA-256 of the weights that it must have been made of; None takes the `WEIGHTS` beside it, and leaves
            that unchecked where there are none.

    Raises:
        PreparedError: A file is missing or is not the one that was written, or was made of other weights.
    """
    manifest = _read_manifest(folder)
    try:
        files = {str(name): (int(each["bytes"]), str(each["sha256"])) for name, each in manifest["files"].items()}
        model = PreparedModel(
            folder=folder,
            num_classes=int(manifest["num_classes"]),
            num_features=int(manifest["num_features"]),
            data_config=dict(manifest["data_config"]),
            weights=str(manifest["weights"]),
            made_with=dict(manifest["made_with"]),
            agreement=dict(manifest["agreement"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PreparedError(f"{folder / MANIFEST} is incomplete ({error!r}). {_REMEDY}") from error
    for name in {GRAPH, REFERENCE} | ({QUANTISED} if (folder / QUANTISED).exists() else set()):
        if name not in files:
            raise PreparedError(f"{folder / MANIFEST} does not name {name}. {_REMEDY}")
        _check_file(folder / name, *files[name])
    if weights is None and model.weights and (folder / WEIGHTS).is_file():
        weights = sha256(folder / WEIGHTS)
    if weights is not None and weights != model.weights:
        raise PreparedError(f"The graph in {folder} was made of other weights than those beside it. {_REMEDY}")
    return model


def write_prepared(model: PreparedModel, reference: Reference) -> None:
    """Write the reference and the manifest of a folder that holds the graphs.

    Raises:
        OSError: A file cannot be written.
    """
    tensors = {"images": reference.images, "logits": reference.outputs.logits}
    if reference.outputs.features is not None:
        tensors["features"] = reference.outputs.features
    save_file({name: np.ascontiguousarray(each) for name, each in tensors.items()}, model.folder / REFERENCE)
    names = [name for name in (GRAPH, QUANTISED, REFERENCE) if (model.folder / name).is_file()]
    files = {
        name: {"bytes": (model.folder / name).stat().st_size, "sha256": sha256(model.folder / name)} for name in names
    }
    manifest = {
        "format": FORMAT,
        "files": files,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "data_config": model.data_config,
        "weights": model.weights,
        "made_with": model.made_with,
        "agreement": model.agreement,
    }
    write_text(model.folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = read_object(path, MOST_MANIFEST_BYTES, _REMEDY)
    except CheckpointError as error:
        raise PreparedError(str(error)) from error
    if manifest.get("format") != FORMAT:
        raise PreparedError(f"{path} is not of the format {FORMAT}. {_REMEDY}")
    return manifest


def _check_file(path: Path, length: int, digest: str) -> None:
    if path.name == REFERENCE and length > MOST_REFERENCE_BYTES:
        raise PreparedError(f"{path} is larger than {MOST_REFERENCE_BYTES:,} bytes. {_REMEDY}")
    try:
        if path.stat().st_size == length and sha256(path) == digest:
            return
    except OSError as error:
        raise PreparedError(f"{path} cannot be read ({error.strerror or error}). {_REMEDY}") from error
    raise PreparedError(f"{path} is torn or was altered: it is not what was exported. {_REMEDY}")
