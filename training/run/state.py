"""The state of a run: all that a process needs to go on as if the one before it had never stopped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from training.data.samples import LabelledImages
from training.data.sources.splits import dataset_digest, describe_changes
from training.errors import CheckpointError
from training.recipe.keys import Recipe
from training.run.folder import Row
from training.sharding import full, spread_like
from training.step.average import WeightAverage
from training.storage.checkpoint import load_state, pack_optimizer, save_state, unpack_optimizer

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
        history: One row of metrics an epoch.
        timings: One row of seconds and images a second an epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    best_accuracy: float = -1.0
    best_epoch: int = 0
    history: list[Row] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Learned:
    """Everything that a step changes.

    Attributes:
        model: With its buffers, so with the priors.
        optimizer: The plain optimiser.
        average: Averaged weights, if any.
        scaler: Loss scaler of float16 training, if any.
    """

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None
    scaler: GradScaler | None

    def snapshot(self) -> "Snapshot":
        """A copy of it on the CPU; of sharded weights the whole, so all processes take it together."""
        optimizer, values = pack_optimizer(self.optimizer)
        average = None
        if self.average is not None:
            with self.average.applied(self.model):
                average = _copies(self.model.state_dict())
        scaler = self.scaler.state_dict() if self.scaler is not None else None
        return Snapshot(_copies(self.model.state_dict()), average, _copies(optimizer), values, scaler)


@dataclass(frozen=True)
class Snapshot:
    """What was learned at one moment, whole and on the CPU.

    Attributes:
        model: Parameters and buffers by name.
        average: The same with averaged parameters, if any.
        optimizer: The optimiser's tensors.
        optimizer_values: The rest of its state, as JSON values.
        scaler: The loss scaler's state, if any.
    """

    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Tensor]
    optimizer_values: dict[str, Any]
    scaler: dict[str, Any] | None


def save(
    path: Path,
    snapshot: Snapshot,
    position: Position,
    recipe: Recipe,
    training: LabelledImages,
    validation: LabelledImages,
) -> None:
    """Write the whole state of a run as one file, atomically."""
    tensors = {f"model.{name}": value for name, value in snapshot.model.items()}
    tensors |= {f"optimizer.{name}": value for name, value in snapshot.optimizer.items()}
    tensors |= {f"average.{name}": value for name, value in (snapshot.average or {}).items()}
    tensors |= {"data.training": dataset_digest(training), "data.validation": dataset_digest(validation)}
    values = {
        "position": asdict(position),
        "classes": training.classes,
        "recipe": recipe.model_dump(mode="json"),
        "optimizer": snapshot.optimizer_values,
        "scaler": snapshot.scaler,
    }
    save_state(path, tensors, values)


def load(
    path: Path, learned: Learned, recipe: Recipe, training: LabelledImages, validation: LabelledImages
) -> Position:
    """Put a saved state back in place, however the run that saved it spread it.

    Returns:
        Where the run was.

    Raises:
        CheckpointError: The file is torn, or of another recipe, other images or classes or another model.
    """
    tensors, values = load_state(path)
    changed = _changed_keys(values["recipe"], recipe.model_dump(mode="json"))
    if changed:
        raise CheckpointError(
            f"the run in {path.parent.parent} was started with other settings ({', '.join(changed)}); "
            "resume with the same ones, or start anew with output=FOLDER"
        )
    if tuple(values["classes"]) != training.classes:
        raise CheckpointError(f"the run in {path.parent.parent} was started with other classes")
    _refuse_other_images(path, tensors, training, validation)
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = tensor
    try:
        current = learned.model.state_dict()
        learned.model.load_state_dict(
            {name: spread_like(value, current.get(name, value)) for name, value in groups["model"].items()}
        )
        if learned.average is not None:
            learned.average.load(learned.model, groups["average"])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit the model: {error}") from error
    unpack_optimizer(learned.optimizer, groups["optimizer"], values["optimizer"])
    if learned.scaler is not None and values["scaler"]:
        learned.scaler.load_state_dict(values["scaler"])
    return Position(**values["position"])


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: full(tensor.detach()).to("cpu", copy=True) for name, tensor in tensors.items()}


def _refuse_other_images(
    path: Path, tensors: dict[str, Tensor], training: LabelledImages, validation: LabelledImages
) -> None:
    """Take the images' digests out of a state, and hold today's images against them.

    With one image more or less the split would be another, and images that were trained on would validate.
    """
    before = tensors.pop("data.training", None), tensors.pop("data.validation", None)
    if before[0] is None or before[1] is None:
        raise CheckpointError(
            f"{path} does not tell which images the run was trained on, as an older version wrote it: start anew "
            "with output=FOLDER"
        )
    changed = describe_changes(training, validation, before[0], before[1])
    if changed is not None:
        raise CheckpointError(
            f"the images of the run in {path.parent.parent} have changed: {changed}. Going on would validate on "
            "images that were trained on: put them back, or start anew with output=FOLDER"
        )


def _changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changed = []
    for key in sorted(before.keys() | now.keys()):
        if key == "data":
            inner = before[key].keys() | now[key].keys()
            changed += [
                f"data.{name}"
                for name in sorted(inner - _FREE_DATA_ON_RESUME)
                if before[key].get(name) != now[key].get(name)
            ]
        elif key not in _FREE_ON_RESUME and before.get(key) != now.get(key):
            changed.append(key)
    return changed
