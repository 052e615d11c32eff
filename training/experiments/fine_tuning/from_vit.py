"""A memory given to a pretrained ViT, beside the ViT itself: both fine-tuned on other classes by one recipe.

For each seed a ViT is trained on half of the classes. It is then fine-tuned on the other half as it is, with a memory
in every block, and with one in the last block: from the same weights, on the same images in the same order.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

import timm
import torch
import torch.nn.functional as F
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from ait import AssociativeModel, from_vit
from ait.interpret.causal import causal_report
from ait.interpret.memory_report import memory_report
from training.experiments import style
from training.experiments.familiarity.images import folder_images, shape_images
from training.experiments.familiarity.unknown import select
from training.experiments.outcome import Check, Outcome

ARMS: Final = {"vit": 0, "memory in the last block": 1, "memory in all blocks": None}
_ROUNDING: Final = 1e-5  # by how much logits may differ at the start
_BATCH: Final = 50


@dataclass(frozen=True)
class Setting:
    """Sizes of the experiment.

    Attributes:
        shape: Arguments of the ViT.
        pretraining_epochs: Over the first half of the classes.
        examples: Images of a class of the second half.
        epochs: Over these.
        rate: Learning rate of both trainings.
    """

    shape: dict[str, Any]
    pretraining_epochs: int
    examples: int
    epochs: int
    rate: float = 1e-3


@dataclass(frozen=True)
class Images:
    """Images of mean about zero (N, 3, H, W) and their labels, to learn from and to test on."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    def of(self, classes: list[int], examples: int | None = None) -> "Images":
        """Keep some classes, with their positions as labels, and the first training images of each."""
        train, labels = select(self.train, self.train_labels, classes)
        if examples is not None:
            first = torch.cat([(labels == label).nonzero().squeeze(1)[:examples] for label in range(len(classes))])
            train, labels = train[first], labels[first]
        return Images(train, labels, *select(self.test, self.test_labels, classes))


def train(model: Any, images: Images, epochs: int, rate: float, seed: int) -> None:
    """Train a model on images that are mirrored and shifted at random, as a function of the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    decay = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate)
    steps = epochs * (len(images.train) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, max(steps, 1), pct_start=0.1)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images.train), generator=generator)
        for chosen in order[: len(order) // _BATCH * _BATCH].split(_BATCH):
            batch = images.train[chosen]
            if torch.rand((), generator=generator) < 0.5:
                batch = batch.flip(-1)
            down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
            batch = batch.roll((down, right), (-2, -1))
            if isinstance(model, AssociativeModel):
                output = model.forward_training(batch)
                loss = F.cross_entropy(output.logits, images.train_labels[chosen]) + 0.01 * output.balance_loss
            else:
                loss = F.cross_entropy(model(batch), images.train_labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def right(model: nn.Module, images: Images) -> Tensor:
    """Tell which test images a model is right on, (n,) float64."""
    logits = torch.cat([model(batch) for batch in images.test.split(250)])
    return (logits.argmax(1) == images.test_labels).double()


def run_seed(images: Images, setting: Setting, seed: int) -> dict[str, dict[str, Any]]:
    """Pretrain a ViT and fine-tune it in each of `ARMS`: what is right on each test image, and the memory's state."""
    classes = int(images.train_labels.max()) + 1
    known, new = list(range(0, classes, 2)), list(range(1, classes, 2))
    torch.manual_seed(seed)
    vit: Any = timm.create_model("vit_tiny_patch16_224", num_classes=len(known), **setting.shape)
    train(vit, images.of(known), setting.pretraining_epochs, setting.rate, seed)
    base = float(right(vit, images.of(known)).mean())
    torch.manual_seed(seed)
    vit.reset_classifier(len(new))
    data = images.of(new, setting.examples)
    start = vit(data.test[:8]).detach()
    weights = {name: value.clone() for name, value in vit.state_dict().items()}
    found: dict[str, dict[str, Any]] = {}
    for name, blocks in ARMS.items():
        vit.load_state_dict(weights)
        torch.manual_seed(seed)
        model: Any = vit if blocks == 0 else from_vit(vit, memory_blocks=blocks)
        difference = float((model.eval()(data.test[:8]).detach() - start).abs().max())
        train(model, data, setting.epochs, setting.rate, seed)
        found[name] = {"right": right(model, data), "difference at the start": difference, "pretrained": base}
        if isinstance(model, AssociativeModel):
            found[name] |= _memory(model, data)
    return found


def _memory(model: AssociativeModel, data: Images) -> dict[str, Any]:
    sample = torch.linspace(0, len(data.test) - 1, min(250, len(data.test))).long()
    report = memory_report(model, data.test[sample])
    effect = causal_report(model, data.test, data.test_labels).effects["retrieval_off"]
    return {
        "scale": [block.scale for block in report],
        "effective rank of priors": [block.effective_rank_priors for block in report],
        "priors in use": [block.usage_perplexity for block in report],
        "without retrieval": {"accuracy change": effect.accuracy_change, "interval": effect.accuracy_interval},
    }


def run(full: bool = False, seed: int = 0, data: Path | None = None) -> Outcome:
    """Fine-tune ViTs with and without a memory, on three seeds.

    Args:
        full: Twice as many images and epochs.
        seed: The first seed.
        data: Folder with splits of class folders, such as CIFAR-10's; None draws shapes.
    """
    times = 2 if full else 1
    if data is None:
        generator = torch.Generator().manual_seed(seed)
        drawn = shape_images(150 * times, generator), shape_images(50, generator)
        images = Images(*drawn[0], *drawn[1])
        shape = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}
        setting = Setting(shape, 6 * times, 60, 6 * times)
    else:
        images = Images(*folder_images(data, 1000 * times))
        shape = {"img_size": 32, "patch_size": 4, "embed_dim": 64, "depth": 4, "num_heads": 2}
        setting = Setting(shape, 3 * times, 300 * times, 6 * times)
    with torch.random.fork_rng(devices=[]):
        runs = [run_seed(images, setting, one) for one in range(seed, seed + 3)]
    return outcome(runs, classes=(int(images.train_labels.max()) + 1) // 2, first_seed=seed)


def outcome(runs: list[dict[str, dict[str, Any]]], classes: int, first_seed: int = 0) -> Outcome:
    """Compare the arms over seeds: the paired difference to the ViT over test images, with its 95 % interval."""
    figures: dict[str, Any] = {"seeds": [first_seed + index for index in range(len(runs))]}
    for name in ARMS:
        arms = [one[name] for one in runs]
        paired = torch.stack([arm["right"] - one["vit"]["right"] for arm, one in zip(arms, runs, strict=True)])
        over_images = paired.mean(0)  # of seeds, for each test image
        figures[name] = {
            "accuracy": [float(arm["right"].mean()) for arm in arms],
            "less the ViT's": [float(difference) for difference in paired.mean(1)],
            "mean": float(paired.mean()),
            "interval": float(1.96 * over_images.std() / len(over_images) ** 0.5),
        } | {key: [arm[key] for arm in arms] for key in arms[0] if key != "right"}
    accuracy = {name: mean(figures[name]["accuracy"]) for name in ARMS}
    woken = [min(scale) for name in ARMS for scale in figures[name].get("scale", [])]
    checks = [
        Check("accuracy of the ViT over chance", accuracy["vit"] * classes, 1.2, classes),
        Check("scale of the least woken memory", min(woken), 1e-4, 10),
        Check(
            "difference of logits at the start",
            max(max(figures[name]["difference at the start"]) for name in ARMS),
            0,
            _ROUNDING,
        ),
    ]
    figure, (left, right_axes) = style.new_figure(columns=2)
    style.seeds(left, {name: figures[name]["accuracy"] for name in ARMS}, reference="vit")
    left.tick_params(axis="y", labelsize=8)
    left.set(xlabel="accuracy on the new classes")
    right_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for look, scales in zip(style.series(), figures["memory in all blocks"]["scale"], strict=False):
        right_axes.plot(range(len(scales)), scales, **look)
    right_axes.set(xlabel="block", ylabel="scale of what is retrieved, a seed each")
    return Outcome("A memory given to a pretrained ViT", checks, figure, figures)
