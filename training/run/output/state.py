"""The state of a run: all that a process needs to go on as if the one before it had never stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from training.data.samples import LabelledImages
from training.data.sources.splits import SplitDigest, describe_changes
from training.errors import CheckpointError
from training.step.learned import Learned, Snapshot
from training.storage.history import Row
from training.storage.state_file import load_state, read_values, save_state

# Keys a resumed run may change: they say where and for how long, not what is computed in a step.
_FREE_ON_RESUME = frozenset(
    {
        "output",
        "epochs",
        "evaluate_every",
        "checkpoint_every",
        "keep_checkpoints",
        "device",
        "compile",
        "sharding",
        "exemplars",
        "figures",
        "tracking",
    }
)
_FREE_DATA_ON_RESUME = frozenset({"root", "cache", "caching", "workers"})


@dataclass
class Position:
    """How far a run is, and what it has seen.

    Attributes:
        epoch: Epochs done.
        batch: Updates done of the epoch in progress.
        step: Updates done since the start.
        sums: Sums over the images of the epoch in progress: cross-entropy, balance loss, correct answers.
        best_accuracy: Best validation accuracy so far, a share of 1; -1 before the first.
        best_epoch: Its epoch, counted from 1.
        history: One row of metrics per epoch.
        timings: One row per epoch: seconds, and images per second.
        products: How torch was set to multiply matrices, in torch's words; empty where that is not known.
        img_size: Side of the images in pixels; 0 where that is not known.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    best_accuracy: float = -1.0
    best_epoch: int = 0
    history: list[Row] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)
    products: str = ""
    img_size: int = 0


def save(
    path: Path,
    snapshot: Snapshot,
    position: Position,
    settings: Mapping[str, Any],
    classes: Sequence[str],
    images: SplitDigest,
) -> None:
    """Write the whole state of a run as one file, atomically.

    Args:
        path: The file; its folder is created.
        snapshot: What was learned.
        position: How far the run is.
        settings: The recipe as JSON values.
        classes: Names by label.
        images: Tells a resumed run whether its images are the same.

    Raises:
        OSError: The file cannot be written.
        SafetensorError: Likewise.
    """
    tensors = {f"model.{name}": value for name, value in snapshot.model.items()}
    tensors |= {f"optimizer.{name}": value for name, value in snapshot.optimizer.items()}
    tensors |= {f"average.{name}": value for name, value in (snapshot.average or {}).items()}
    tensors |= {f"data.{side}": rows for side, rows in images.sides().items()}
    values = {
        "position": asdict(position),
        "classes": list(classes),
        "recipe": dict(settings),
        "optimizer": snapshot.optimizer_values,
        "scaler": snapshot.scaler,
    }
    save_state(path, tensors, values)


class Choices(NamedTuple):
    """What a run found best by measuring when it began, and keeps when it goes on; as in `Position`."""

    products: str = ""
    img_size: int = 0


def read_choices(path: Path) -> Choices:
    """Read what a run has chosen from its state file; where there is none, nothing."""
    position = read_values(path).get("position", {})
    return Choices(str(position.get("products", "")), int(position.get("img_size", 0)))


def load(
    path: Path,
    learned: Learned,
    settings: Mapping[str, Any],
    training: LabelledImages,
    validation: LabelledImages,
) -> Position:
    """Put a saved state back in place, however the run that saved it spread it over processes.

    Args:
        path: The file.
        learned: Filled with what was saved.
        settings: The recipe of the run that goes on, as JSON values.
        training: Its training images.
        validation: Its validation images.

    Returns:
        Where the run was.

    Raises:
        CheckpointError: The file is torn, or of another recipe, other images or classes or another model.
    """
    tensors, values = load_state(path)
    changed = changed_keys(values["recipe"], settings)
    if changed:
        raise CheckpointError(
            f"the run in {path.parent.parent} was started with other settings ({', '.join(changed)}); "
            "resume with the same ones, or start anew with output=FOLDER"
        )
    if tuple(values["classes"]) != tuple(training.classes):
        raise CheckpointError(f"the run in {path.parent.parent} was started with other classes")
    _refuse_other_images(path, tensors, training, validation)
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = tensor
    saved = Snapshot(groups["model"], groups["average"], groups["optimizer"], values["optimizer"], values["scaler"])
    try:
        learned.restore(saved)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit the model: {error}") from error
    return Position(**values["position"])


def _refuse_other_images(
    path: Path, tensors: dict[str, Tensor], training: LabelledImages, validation: LabelledImages
) -> None:
    """Take the images' digests out of a state, and hold today's images against them.

    With one image more or less the split would be another, and images that were trained on would validate.
    """
    was_training, was_validation = tensors.pop("data.training", None), tensors.pop("data.validation", None)
    if was_training is None or was_validation is None or was_training.ndim != 2:
        raise CheckpointError(
            f"{path} does not tell which images the run was trained on, as an older version wrote it: start anew "
            "with output=FOLDER"
        )
    changed = describe_changes(training, validation, SplitDigest(was_training, was_validation))
    if changed is not None:
        raise CheckpointError(
            f"the images of the run in {path.parent.parent} have changed: {changed}. Going on would validate on "
            "images that were trained on: put them back, or start anew with output=FOLDER"
        )


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the settings of two recipes, as JSON values, that differ and decide what a run gives, as `optimizer.lr`."""
    changed = []
    for key in sorted((before.keys() | now.keys()) - _FREE_ON_RESUME):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            names = old.keys() | new.keys()
            names -= _FREE_DATA_ON_RESUME if key == "data" else set()
            changed += [f"{key}.{name}" for name in sorted(names) if old.get(name) != new.get(name)]
        elif old != new:
            changed.append(key)
    return changed
