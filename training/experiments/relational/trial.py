"""Train one model on Sort-of-CLEVR's questions, and measure it on each kind; a trial goes on where it was stopped."""

import json
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ait.benchmark.cost import model_cost
from ait.interpret.causal import disturbed_blocks
from ait_lite.checkpoint import atomic_file, write_text
from training.data.sources.sort_of_clevr import (
    KINDS,
    QUESTION_BITS,
    SIZE,
    TEST_IMAGES,
    SortOfClevr,
    generate_sort_of_clevr,
)
from training.experiments.blocks.training import fast_products
from training.experiments.blocks.trial import OF_BLOCKS
from training.experiments.budget import Budget, NotChosen, trial_name
from training.experiments.environment import record_environment
from training.experiments.relational.model import RelationalModel
from training.model.plain_attention import take_plain_attention
from training.seeds import epoch_order, stream_seed

EVALUATED_AT_ONCE = 100


@dataclass(frozen=True)
class RelationalTrial:
    """One model and how it is trained.

    Attributes:
        label: What tables and plots call it.
        model: Arguments of `RelationalModel`.
        kinds: Kinds of questions that it is trained on, and measured on.
        images: Training images.
        epochs: Passes over them.
        batch_size: Images of an update, each with all its questions.
        lr: Peak learning rate, after a linear warm-up over a twentieth of the updates; it falls by a cosine.
        first_lr: Share of it at the first update.
        last_lr: Share of it after the last.
        weight_decay: Of matrices.
        balance_weight: Weight of the balance loss, divided by the blocks.
        precision: ``fp32``, or ``bf16`` for mixed precision in training; measured in float32.
        faithful: Data with the defects of the public generators.
        seed: Of the start and the order; the data are the same for all seeds.
    """

    label: str
    model: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = KINDS
    images: int = 9_800
    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-3
    first_lr: float = 1 / 51
    last_lr: float = 0.0
    weight_decay: float = 0.01
    balance_weight: float = 1e-2
    precision: str = "fp32"
    faithful: bool = False
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the trial's files."""
        return trial_name(self.label, "joint" if len(self.kinds) > 1 else self.kinds[0], f"seed {self.seed}")


def for_this_machine(trial: RelationalTrial) -> RelationalTrial:
    """Let a trial run in float32 where nothing multiplies bf16: imitated, it takes ten times as long."""
    if torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return trial
    return replace(trial, precision="fp32")


def run_trial(trial: RelationalTrial, folder: Path, budget: Budget) -> dict[str, Any]:
    """Train and measure, or read what an earlier command measured.

    Args:
        trial: What to do. A result or a state of other settings is done anew.
        folder: Where results and, after each epoch, states are kept.
        budget: Asked before the trial and after every epoch.

    Returns:
        The result: accuracy of each kind on the test images, by epoch and at the end; which questions were answered
        rightly, as a digit each by intervention and kind, ``on`` being the model as it is; cost and settings.

    Raises:
        NotChosen: Another command has to run it.
        OutOfTime: The trial has to go on in another command; its state is written.
    """
    settings = _settings(trial)
    done = folder / f"{trial.name}.json"
    if done.is_file():
        result: dict[str, Any] = json.loads(done.read_text())
        if _complete(result["settings"]) == settings:
            return result
    if not budget.includes(trial.name):
        raise NotChosen
    budget.check()
    model = make_model(trial)
    device = next(model.parameters()).device
    optimiser = torch.optim.AdamW(_groups(model, trial.weight_decay), lr=trial.lr)
    train = generate_sort_of_clevr(trial.images, 0, "train", trial.faithful).asking(*trial.kinds)
    test = generate_sort_of_clevr(TEST_IMAGES, 0, "test", trial.faithful).asking(*trial.kinds)
    history = _load(folder / f"{trial.name}.pt", settings, model, optimiser)
    steps = -(-trial.images // trial.batch_size)
    with fast_products():
        while len(history) < trial.epochs:
            epoch = len(history)
            model.train()
            order = epoch_order(trial.images, trial.seed, epoch)
            losses, began = [], time.perf_counter()
            with torch.random.fork_rng():
                torch.manual_seed(stream_seed(trial.seed, epoch, "relational dropout"))
                for number, chosen in enumerate(order.split(trial.batch_size)):
                    share = _rate(trial, (epoch * steps + number) / (trial.epochs * steps))
                    for group in optimiser.param_groups:
                        group["lr"] = trial.lr * share
                    losses.append(_update(model, optimiser, train, chosen, trial, device))
            loss, seconds = float(torch.stack(losses).mean()), time.perf_counter() - began
            history.append({"epoch": epoch + 1, "loss": loss, **measure(model, test, device), "seconds": seconds})
            if epoch + 1 < trial.epochs:
                _save(folder / f"{trial.name}.pt", settings, model, optimiser, history)
                budget.check()
    cost = model_cost(model.cpu(), *_example())
    result = {"settings": settings, "history": history, "accuracy": measure(model, test, torch.device("cpu"))}
    result |= {"right": _right_answers(model, test)}
    result |= {"parameters": cost.parameters, "multiply_adds": cost.multiply_adds}
    folder.mkdir(parents=True, exist_ok=True)
    record_environment(folder, trial.name)
    write_text(done, json.dumps(result, indent=1) + "\n")
    (folder / f"{trial.name}.pt").unlink(missing_ok=True)
    return result


def make_model(trial: RelationalTrial) -> RelationalModel:
    """Make a trial's model as it is before training, on the accelerator if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(trial.seed, 0, "relational start"))
        model = RelationalModel(**trial.model).to(device)
    half = torch.bfloat16 if trial.precision == "bf16" else torch.float32
    take_plain_attention(model, *(part.to(device) for part in _example()), dtype=half)
    return model


def _example() -> tuple[Tensor, Tensor]:
    """Make an image (1, 3, 75, 75) and a question about it, (1, 1, 18)."""
    return torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 1, QUESTION_BITS)


@torch.no_grad()
def measure(model: RelationalModel, data: SortOfClevr, device: torch.device) -> dict[str, float]:
    """Compute the share of right answers to each kind of question that there is."""
    return {kind: float(right.double().mean()) for kind, right in _right(model, data, device).items()}


@torch.no_grad()
def _right(model: RelationalModel, data: SortOfClevr, device: torch.device) -> dict[str, Tensor]:
    """Tell which questions of each kind are answered rightly; bool, one dimension, in the order of images."""
    model.eval()
    right = []
    for rows in torch.arange(len(data.images)).split(EVALUATED_AT_ONCE):
        logits, _ = model(data.images[rows].to(device) / 255, data.questions[rows].to(device))
        right.append(logits.argmax(-1).cpu() == data.answers[rows])
    correct = torch.cat(right)
    by_kind = {kind: correct[data.kinds == number] for number, kind in enumerate(KINDS)}
    return {kind: found for kind, found in by_kind.items() if len(found)}


def _right_answers(model: RelationalModel, data: SortOfClevr) -> dict[str, dict[str, str]]:
    """Write which questions are answered rightly, by intervention and kind, as digits."""
    found = {"on": _right(model, data, torch.device("cpu"))}
    if model.has_memory():
        for change, intervention in OF_BLOCKS.items():
            with disturbed_blocks(model, intervention):
                found[change] = _right(model, data, torch.device("cpu"))
    return {
        change: {kind: "".join("01"[flag] for flag in right.tolist()) for kind, right in kinds.items()}
        for change, kinds in found.items()
    }


def _update(
    model: RelationalModel,
    optimiser: torch.optim.Optimizer,
    data: SortOfClevr,
    chosen: Tensor,
    trial: RelationalTrial,
    device: torch.device,
) -> Tensor:
    loss, balance = losses_of(model, data, chosen, device, trial.precision)
    optimiser.zero_grad()
    (loss + trial.balance_weight * balance).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.detach()


def losses_of(
    model: RelationalModel, data: SortOfClevr, chosen: Tensor, device: torch.device, precision: str
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy in nats of all questions about some images (B,), and the balance loss a block."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits, balance = model(data.images[chosen].to(device) / 255, data.questions[chosen].to(device))
    logits = logits.float()
    return F.cross_entropy(logits.flatten(0, 1), data.answers[chosen].to(device).flatten()), balance / model.depth


def _settings(trial: RelationalTrial) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(json.dumps(asdict(trial)))
    return settings


def _complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Add to settings that were kept what was not asked at the time, and was done as by default."""
    return _settings(RelationalTrial("")) | settings


def _groups(model: RelationalModel, weight_decay: float) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _rate(trial: RelationalTrial, progress: float) -> float:
    """Share of the peak learning rate at a share of the run."""
    warmup = 0.05
    if progress < warmup:
        return trial.first_lr + (1 - trial.first_lr) * progress / warmup
    fallen = 0.5 - 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))
    return 1 + (trial.last_lr - 1) * fallen


def _save(
    path: Path,
    settings: dict[str, Any],
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    history: list[dict[str, float]],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "settings": settings,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": history,
    }
    with atomic_file(path) as temporary:
        torch.save(state, temporary)


def _load(
    path: Path, settings: dict[str, Any], model: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> list[dict[str, float]]:
    """Load a state of the same settings; returns the epochs that are done."""
    if not path.is_file():
        return []
    state = torch.load(path, weights_only=True)
    if _complete(state["settings"]) != settings:
        return []
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    history: list[dict[str, float]] = state["history"]
    return history
