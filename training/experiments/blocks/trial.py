"""Train one design on images, and measure it with its memory and without; a later command reads what was measured."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ait.interpret.causal import interventions, logits_under
from ait_lite.checkpoint import atomic_file
from training.experiments.blocks.designs import DESIGNS, Size, multiply_adds, parameters
from training.experiments.blocks.memories import INTERVENTIONS, Memory, intervention
from training.experiments.blocks.training import Images, Interruption, Training, fast_products, train
from training.experiments.budget import Budget, NotChosen
from training.experiments.environment import record_environment

# With its memory disturbed a model is asked one test image in so many: what it loses is seen soon.
EVERY: Final = 4
# Names of `ait.interpret.causal` for the interventions here.
OF_BLOCKS: Final = {"off": "retrieval_off", "equal": "equal_priors", "shuffled": "shuffled_priors"}


@dataclass(frozen=True)
class Trial:
    """What one training gave.

    Attributes:
        design: Name in ``DESIGNS``.
        seed: Seed of start and order.
        parameters: Numbers that the model stores.
        multiply_adds: Of one image.
        seconds: Training time.
        right: Whether each test image is answered rightly, by intervention; ``on`` is the model as it is. With the
            memory disturbed, one image in `EVERY` is asked.
    """

    design: str
    seed: int
    parameters: int
    multiply_adds: int
    seconds: float
    right: dict[str, Tensor]

    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right["on"].double().mean())


@dataclass(frozen=True)
class TrialPlan:
    """A training to be run.

    Attributes:
        design: Name in ``DESIGNS``.
        size: Size of the model.
        training: How it is trained.
        seed: Of everything random.
        label: What the trial's file is called by besides the seed; empty: the design.
    """

    design: str
    size: Size
    training: Training
    seed: int
    label: str = ""

    @property
    def name(self) -> str:
        """Name of the trial's file."""
        return f"{self.label or self.design}-seed-{self.seed}"


def run_kept_trial(plan: TrialPlan, images: Images, folder: Path, budget: Budget) -> Trial:
    """Train and measure, or read what an earlier command measured.

    Args:
        plan: What to do. A result of other settings, or of other images by their number and scale, is done anew.
        images: What it learns and is measured on.
        folder: Where results are kept.
        budget: Asked before the trial and after every epoch.

    Raises:
        NotChosen: Another command has to run it.
        OutOfTime: The trial has to go on in another command; its state is written.
    """
    path = folder / f"{plan.name}.safetensors"
    told = {"train": len(images.train), "test": len(images.test), "mean": images.mean, "std": images.std}
    settings = json.loads(json.dumps(asdict(plan))) | told
    if path.is_file():
        with safe_open(path, framework="pt") as file:
            kept = json.loads(file.metadata()["trial"])
        if kept.pop("settings") == settings:
            return Trial(plan.design, plan.seed, **kept, right=load_file(path))
    if not budget.includes(plan.name):
        raise NotChosen
    budget.check()
    state = folder / f"{plan.name}.pt"
    interruption = Interruption(state, settings, budget)
    trial = run_trial(plan.design, images, plan.size, plan.training, plan.seed, interruption)
    costs: dict[str, Any] = {
        "parameters": trial.parameters,
        "multiply_adds": trial.multiply_adds,
        "seconds": trial.seconds,
        "settings": settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    record_environment(folder, plan.name)
    with atomic_file(path) as temporary:
        save_file(trial.right, temporary, {"trial": json.dumps(costs)})
    state.unlink(missing_ok=True)
    return trial


def run_trial(
    name: str, images: Images, size: Size, training: Training, seed: int, interruption: Interruption | None = None
) -> Trial:
    """Train a design and measure it; the same seed gives every design the same order of images, flips and shifts.

    Args:
        name: One of ``DESIGNS``.
        images: What it learns and is measured on.
        size: Size of the model.
        training: How it is trained.
        seed: Of everything random.
        interruption: Lets the training stop between epochs, and go on.

    Raises:
        OutOfTime: It was stopped.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = images.to(device)
    with torch.random.fork_rng(), fast_products():
        torch.manual_seed(seed)
        model = DESIGNS[name].make(size).to(device)
        seconds = train(model, images, training, seed, interruption)
        right = {"on": _answers(model, images, images.test, None) == images.test_labels}
        if interventions(model) or any(isinstance(part, Memory) for part in model.modules()):
            asked, labels = images.test[::EVERY], images.test_labels[::EVERY]
            right |= {change: _answers(model, images, asked, change) == labels for change in INTERVENTIONS}
    right = {key: value.cpu() for key, value in right.items()}
    return Trial(name, seed, parameters(model), multiply_adds(model.cpu(), size), seconds, right)


@torch.no_grad()
def _answers(model: nn.Module, images: Images, asked: Tensor, change: str | None) -> Tensor:
    model.eval()
    answers = []
    for batch in asked.split(250):
        pixels = images.normalised(batch)
        if change is None:
            logits = model(pixels)
        elif interventions(model):
            logits = logits_under(model, pixels, OF_BLOCKS[change])
        else:
            with intervention(model, change):
                logits = model(pixels)
        answers.append(logits.argmax(-1))
    return torch.cat(answers)
