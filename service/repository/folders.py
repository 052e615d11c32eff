"""Find model folders on disk and read their configuration."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ait_lite import checkpoint
from ait_lite.checkpoint import (
    BEST,
    CONFIG,
    MANIFEST,
    RECIPE,
    SERVING,
    WEIGHTS,
    CheckpointError,
    bundled_models,
    default_model,
    resolve,
)
from service.settings import Precision, Runtime

MOST_SERVING_BYTES = 65_536

_LIKE_A_VERSION = re.compile(r"[vV]?\d[\w.+-]*")

Fingerprint = tuple[tuple[str, int, int, int], ...]  # name, bytes, time of change, inode of each file


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

    @property
    def has_associative_head(self) -> bool:
        """Whether its head is a memory of its classes (`ait.memory.associative_head`)."""
        arguments = self.config.get("model_args")
        return isinstance(arguments, dict) and arguments.get("head") == "associative"


class ModelKey(NamedTuple):
    """A version of a model."""

    name: str
    version: str

    @property
    def order(self) -> tuple[int, str]:
        """A key that sorts versions of a model: 10 is above 9, and what is no number is below all."""
        return int(self.version) if _is_number(self.version) else -1, self.version


class Found(NamedTuple):
    """A version on disk.

    Attributes:
        path: Its folder.
        refused: Why it can't be a version that is served, whatever it holds; empty if it can.
    """

    path: Path
    refused: str = ""


class ServingSettings(BaseModel):
    """The settings of a model's `serving.json`; what it leaves out is as the server's settings say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch: int | None = Field(None, ge=1, description="Most images in one forward pass.")
    max_delay_ms: float | None = Field(None, ge=0, description="Most that an idle model waits for more under load.")
    max_queue: int | None = Field(None, ge=1, description="Most images that wait.")
    runtime: Runtime | None = Field(None, description="What the model runs in.")
    precision: Precision | None = Field(None, description="What it computes in.")
    versions: int | None = Field(None, ge=1, description="How many of the highest versions are served; all if unset.")


def scan(root: Path) -> dict[ModelKey, Found]:
    """Find the versions in a folder of models: `<root>/<model>/<version>`, or `<root>/<model>` for a single one.

    Versions are numbers; a folder that seems to be meant as one but has another name is found as refused, and so is,
    as version 1, a model whose folder cannot be read, or whose name is not UTF-8, as answers are. Names that begin
    with a dot are left out, so that a copy may be made under such a name and then renamed.

    Raises:
        OSError: The folder cannot be read.
    """
    found = {}
    for model in sorted(root.iterdir()):
        if model.name.startswith("."):
            continue
        try:
            found.update(_versions(model))
        except OSError as error:
            found[ModelKey(_in_utf8(model.name), "1")] = Found(model, _in_utf8(unreadable(model, error)))
    return found


def unreadable(path: Path, error: OSError) -> str:
    """Say that a folder cannot be read, and what helps."""
    return f"{path} cannot be read: {error.strerror or error}. Check its permissions."


def fingerprint(path: Path) -> Fingerprint:
    """Describe the files of a model's folder and the `serving.json` beside it, so that a change of one shows."""
    files = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_file():
                files.append((entry.name, entry.stat()))
    beside = path.parent / SERVING
    if beside.is_file():
        files.append((f"../{SERVING}", beside.stat()))
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in files))


def read_version(key: ModelKey, path: Path) -> ModelFolder:
    """Read the configuration of a version in a folder of models.

    Raises:
        ModelError: It is incomplete.
    """
    return ModelFolder(name=key.name, version=key.version, path=path, config=_read_config(path))


def serving_file(path: Path) -> Path | None:
    """Find the `serving.json` of a model's folder, as `read_serving` reads it.

    Raises:
        ModelError: The folder cannot be looked at.
    """
    places = [path, path.parent] if path.name.isdecimal() else [path]
    try:
        return next((place / SERVING for place in places if (place / SERVING).is_file()), None)
    except OSError as error:
        raise ModelError(unreadable(path, error)) from error


def read_serving(path: Path) -> ServingSettings:
    """Read the `serving.json` in a model's folder or, of a numbered version, in the one above; else nothing is set.

    Raises:
        ModelError: It says something that is not understood.
    """
    file = serving_file(path)
    if file is None:
        return ServingSettings()  # type: ignore[call-arg]
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_SERVING_BYTES + 1)
    except OSError as error:
        raise ModelError(unreadable(file, error)) from error
    if len(text) > MOST_SERVING_BYTES:
        raise ModelError(f"{file} is larger than {MOST_SERVING_BYTES:,} bytes. It may set a few numbers, no more.")
    try:
        return ServingSettings.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()
        )
        names = ", ".join(ServingSettings.model_fields)
        raise ModelError(f"{file}: {problems}. It may set {names}.") from error


def locate(reference: str | Path | None) -> ModelFolder:
    """Find the folder of a model without loading its weights.

    Args:
        reference: A folder, the name of a bundled model, or None for the bundled default. A folder called
            by a number is that version of the model its parent names; any other folder is version 1, and the best
            model of a run is called as the run is.

    Raises:
        ModelError: There is no such model, or its folder is incomplete.
    """
    reference = default_model() if reference is None else reference
    if reference is None:
        raise ModelError(f"No model is bundled with this installation. {_remedy({})}")
    try:
        ready = resolve(reference)  # which may prepare it
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    bundled = bundled_models()
    if path := bundled.get(str(reference)):
        return ModelFolder(name=str(reference), version="1", path=path, config=_read_config(path))
    path = ready.resolve()
    if not path.is_dir():
        problem = "is not a folder" if path.exists() else "does not exist"
        raise ModelError(f"Model {str(reference)!r}: {path} {problem}. {_remedy(bundled)}")
    config = _read_config(path)
    version = path.name if path.name.isdecimal() else "1"
    name = path.parent.name if path.name.isdecimal() or _is_best_of_run(path) else path.name
    return ModelFolder(name=name or "model", version=version, path=path, config=config)


def label_names(folder: ModelFolder, num_classes: int) -> list[str]:
    """Name the classes of a model by index; a class without a name is called by its index.

    Raises:
        ModelError: The list of names does not fit the number of classes.
    """
    try:
        return checkpoint.label_names(folder.config, num_classes)
    except CheckpointError as error:
        raise ModelError(f"{folder.path / CONFIG}: {error}") from error


def _versions(model: Path) -> dict[ModelKey, Found]:
    """Find the versions of one model; none if it is no folder."""
    if not model.is_dir():
        return {}
    if (name := _in_utf8(model.name)) != model.name:
        return {ModelKey(name, "1"): Found(model, f"The name of the folder {name} is not UTF-8. Rename it.")}
    if (model / CONFIG).is_file():
        return {ModelKey(model.name, "1"): Found(model)}
    found = {}
    for path in sorted(model.iterdir()):
        key = ModelKey(model.name, _in_utf8(path.name))
        if path.name.startswith(".") or not path.is_dir():
            continue
        if _is_number(path.name):
            found[key] = Found(path)
        elif _LIKE_A_VERSION.fullmatch(path.name) or _has_config(path):
            reason = f"{path.name!r} is not a whole number, as versions are: 1, 2, 10. Rename {path}."
            found[key] = Found(path, _in_utf8(reason))
    return found


def _in_utf8(text: str) -> str:
    """Write a name so that JSON can say it, with bytes that are not UTF-8 in hexadecimal."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _is_best_of_run(path: Path) -> bool:
    """Tell whether a folder is that of a run's best model: every run has one of that name."""
    return path.name == BEST and (path.parent / RECIPE).is_file()


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _has_config(path: Path) -> bool:
    try:
        return (path / CONFIG).is_file()
    except OSError:
        return False


def _read_config(path: Path) -> dict[str, Any]:
    for names in ((CONFIG,), (WEIGHTS, MANIFEST)):
        try:
            there = any((path / name).is_file() for name in names)
        except OSError as error:
            raise ModelError(unreadable(path, error)) from error
        if not there:
            best = f" Did you mean {path / BEST}?" if _has_config(path / BEST) else ""
            raise ModelError(
                f"{path} has no {names[0]}.{best} A model folder holds {CONFIG} and {WEIGHTS}, as the trainer exports "
                "them."
            )
    try:
        config = checkpoint.read_config(path)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    if not isinstance(config.get("architecture"), str):
        raise ModelError(f"{path / CONFIG} does not name an architecture. Export the model again.")
    return config


def _remedy(bundled: dict[str, Path]) -> str:
    names = ", ".join(bundled) or "none"
    return f"Give a folder that holds {CONFIG} and {WEIGHTS}, or a bundled model (there is: {names})."
