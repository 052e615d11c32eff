"""Train one design on images, and measure it with its memory and without; a later command reads what was measured."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ait.associative_transformer import AssociativeTransformer
from ait.interpret.causal import interventions, logits_under
from ait_lite.checkpoint import atomic_file
from training.experiments.blocks.designs import DESIGNS, Size, Transformer, multiply_adds, parameters
from training.experiments.blocks.memories import INTERVENTIONS, Memory, intervention
from training.experiments.budget import Budget, NotChosen

# With its memory disturbed a model is asked one test image in so many: what it loses is seen soon.
EVERY: Final = 4
# Names of `ait.interpret.causal` for the interventions here.
OF_BLOCKS: Final = {"off": "retrieval_off", "equal": "equal_priors", "shuffled": "shuffled_priors"}


@dataclass(frozen=True)
class Images:
    """Images decoded once.

    Attributes:
        train: Shape (N, 3, S, S), uint8.
        train_labels: Shape (N,), int64.
        test: Shape (n, 3, S, S), uint8.
        test_labels: Shape (n,), int64.
        mean: Of their bytes; that of photographs unless said.
        std: Likewise.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    mean: float = 120.0
    std: float = 64.0

    def normalised(self, images: Tensor) -> Tensor:
        """Bring uint8 images to about mean 0 and unit scale: else what is nearly black all over is not learnt."""
        return (images.float() - self.mean) / self.std

    def to(self, device: torch.device) -> "Images":
        """Have them on a device."""
        train, train_labels = self.train.to(device), self.train_labels.to(device)
        return Images(train, train_labels, self.test.to(device), self.test_labels.to(device), self.mean, self.std)


@dataclass(frozen=True)
class Training:
    """How every model is trained.

    Attributes:
        epochs: Passes over the images.
        batch: Images of an update.
        rate: Largest learning rate of AdamW, after a tenth of the updates; it falls to zero as a cosine.
        decay: Weight decay.
        padding: Pixels by which images are shifted at most, at random, in either direction.
        auxiliary: Weight of the cross-entropy of read-outs within, and of an AiT's balance loss.
    """

    epochs: int = 4
    batch: int = 128
    rate: float = 1e-3
    decay: float = 0.05
    padding: int = 0
    auxiliary: tuple[float, float] = (0.3, 0.01)


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
        budget: Asked before every trial.

    Raises:
        NotChosen: Another command has to run it.
        OutOfTime: The trial has to be run by another command.
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
    trial = run_trial(plan.design, images, plan.size, plan.training, plan.seed)
    costs: dict[str, Any] = {
        "parameters": trial.parameters,
        "multiply_adds": trial.multiply_adds,
        "seconds": trial.seconds,
        "settings": settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        save_file(trial.right, temporary, {"trial": json.dumps(costs)})
    return trial


def run_trial(name: str, images: Images, size: Size, training: Training, seed: int) -> Trial:
    """Train a design and measure it; the same seed gives every design the same order of images, flips and shifts.

    Args:
        name: One of ``DESIGNS``.
        images: What it learns and is measured on.
        size: Size of the model.
        training: How it is trained.
        seed: Of everything random.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = images.to(device)
    with torch.random.fork_rng(), fast_products():
        torch.manual_seed(seed)
        model = DESIGNS[name].make(size).to(device)
        start = time.perf_counter()
        _train(model, images, training, seed)
        seconds = time.perf_counter() - start
        right = {"on": _answers(model, images, images.test, None) == images.test_labels}
        if interventions(model) or any(isinstance(part, Memory) for part in model.modules()):
            asked, labels = images.test[::EVERY], images.test_labels[::EVERY]
            right |= {change: _answers(model, images, asked, change) == labels for change in INTERVENTIONS}
    right = {key: value.cpu() for key, value in right.items()}
    return Trial(name, seed, parameters(model), multiply_adds(model.cpu(), size), seconds, right)


@contextmanager
def fast_products() -> Iterator[None]:
    """Let matrix products round their factors to bfloat16 where the machine is faster so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _train(model: nn.Module, images: Images, training: Training, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    steps = training.epochs * (len(images.train) // training.batch)
    matrices = [value for value in model.parameters() if value.ndim > 1]
    others = [value for value in model.parameters() if value.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": training.decay}, {"params": others, "weight_decay": 0.0}],
        lr=training.rate,
        fused=images.train.is_cuda,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    model.train()
    for _ in range(training.epochs):
        order = torch.randperm(len(images.train), generator=generator).to(images.train.device)
        for chosen in order[: len(order) // training.batch * training.batch].split(training.batch):
            flip = torch.rand(len(chosen), 1, 1, 1, generator=generator).to(order.device) < 0.5
            batch = images.normalised(images.train[chosen])
            if training.padding:
                black = float(images.normalised(torch.zeros(())))
                batch = _shifted(batch, training.padding, black, generator)
            loss = training_loss(
                model, torch.where(flip, batch.flip(-1), batch), images.train_labels[chosen], training
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()


def _shifted(batch: Tensor, padding: int, black: float, generator: torch.Generator) -> Tensor:
    """Shift images (B, 3, S, S), each by its own number of pixels up to ``padding``, over a border of ``black``."""
    side = batch.shape[-1]
    corners = torch.randint(2 * padding + 1, (2, len(batch), 1), generator=generator).to(batch.device)
    rows, columns = corners + torch.arange(side, device=batch.device)  # (B, S) each
    padded = F.pad(batch, [padding] * 4, value=black)
    image = torch.arange(len(batch), device=batch.device)[:, None, None]
    return padded.movedim(1, -1)[image, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def training_loss(model: nn.Module, images: Tensor, labels: Tensor, training: Training) -> Tensor:
    """Compute what a step makes smaller, of normalised images (B, 3, S, S) with labels (B,), in nats."""
    supervised, balance = training.auxiliary
    if isinstance(model, Transformer):
        logits, within = model.forward_supervised(images)
        return F.cross_entropy(logits, labels) + supervised * sum(
            (F.cross_entropy(found, labels) for found in within), logits.new_zeros(())
        )
    assert isinstance(model, AssociativeTransformer)
    output = model.forward_training(images)
    return F.cross_entropy(output.logits, labels) + balance * output.balance_loss


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
