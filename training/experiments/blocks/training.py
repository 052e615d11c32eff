"""How designs are trained on images, epoch after epoch; a training goes on where another command stopped."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ait.associative_transformer import AssociativeTransformer
from ait_lite.checkpoint import atomic_file
from training.experiments.blocks.designs import Transformer
from training.experiments.budget import Budget


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
class Interruption:
    """When a training stops, and where what goes on with it is kept.

    Attributes:
        path: The file; it is removed by whoever has kept the result.
        settings: What is trained, as JSON values: a file of other settings is not gone on with.
        budget: Asked after every epoch but the last.
    """

    path: Path
    settings: Mapping[str, Any]
    budget: Budget

    def load(self) -> dict[str, Any] | None:
        """Read what was kept; None where there is nothing of these settings."""
        if not self.path.is_file():
            return None
        kept: dict[str, Any] = torch.load(self.path, weights_only=True)
        return kept if kept["settings"] == self.settings else None

    def save(self, kept: Mapping[str, Any]) -> None:
        """Keep what goes on, then stop if time is over.

        Raises:
            OutOfTime: It is.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path) as temporary:
            torch.save({**kept, "settings": dict(self.settings)}, temporary)
        self.budget.check()


@contextmanager
def fast_products() -> Iterator[None]:
    """Let matrix products round their factors to bfloat16 where the machine is faster so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def train(
    model: nn.Module, images: Images, training: Training, seed: int, interruption: Interruption | None = None
) -> float:
    """Train a model; the same seed gives every model the same order of images, flips and shifts.

    Args:
        model: Where the images are.
        images: What it learns.
        training: How.
        seed: Of the order. The generator of torch, which dropout draws from, is gone on with too.
        interruption: Lets it stop between epochs, and go on.

    Returns:
        Seconds, those of earlier commands too.

    Raises:
        OutOfTime: It was stopped.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = training.epochs * (len(images.train) // training.batch)
    optimiser = _optimiser(model, training, fused=images.train.is_cuda)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    done, seconds = 0, 0.0
    kept = None if interruption is None else interruption.load()
    if kept is not None:
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
        generator.set_state(kept["order"])
        _set_drawn(kept["drawn"])
        done, seconds = kept["epochs"], kept["seconds"]
    model.train()
    for epoch in range(done + 1, training.epochs + 1):
        began = time.perf_counter()
        _train_epoch(model, images, training, optimiser, schedule, generator)
        seconds += time.perf_counter() - began
        if interruption is not None and epoch < training.epochs:
            interruption.save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "order": generator.get_state(),
                    "drawn": _drawn(),
                    "epochs": epoch,
                    "seconds": seconds,
                }
            )
    return seconds


def _optimiser(model: nn.Module, training: Training, fused: bool) -> torch.optim.Optimizer:
    matrices = [value for value in model.parameters() if value.ndim > 1]
    others = [value for value in model.parameters() if value.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": training.decay}, {"params": others, "weight_decay": 0.0}],
        lr=training.rate,
        fused=fused,
    )


def _drawn() -> list[Tensor]:
    """States of torch's generators: the processor's, then those of accelerators."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_drawn(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1:])


def _train_epoch(
    model: nn.Module,
    images: Images,
    training: Training,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> None:
    order = torch.randperm(len(images.train), generator=generator).to(images.train.device)
    for chosen in order[: len(order) // training.batch * training.batch].split(training.batch):
        flip = torch.rand(len(chosen), 1, 1, 1, generator=generator).to(order.device) < 0.5
        batch = images.normalised(images.train[chosen])
        if training.padding:
            black = float(images.normalised(torch.zeros(())))
            batch = _shifted(batch, training.padding, black, generator)
        loss = training_loss(model, torch.where(flip, batch.flip(-1), batch), images.train_labels[chosen], training)
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
