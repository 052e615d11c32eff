"""What a trained model's memory does to its answers: accuracy and loss with the memory taken away or disturbed.

Ranks and perplexities describe a memory; only an intervention tells whether it matters. Each one is compared with the
model as it is on the same images, so the intervals are those of paired differences.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ait.associative_model import AssociativeModel
from ait.block import AssociativeBlock
from ait.interpret.memory_report import answer
from ait.latent.recall_merge import RecallMerge
from ait.memory.associative_head import AssociativeHead

# Half of a 95 % interval of a normal mean, in standard errors.
_HALF_WIDTH: Final = 1.96
_TIE: Final = 1e-5


@dataclass(frozen=True)
class Effect:
    """What an intervention changes, over images; intervals are half-widths at 95 %, of the paired difference.

    Attributes:
        accuracy: Share of right answers under the intervention; answers that tie share the point.
        loss: Cross-entropy under the intervention, in nats.
        accuracy_change: ``accuracy`` less that of the model as it is.
        accuracy_interval: Its half-width.
        loss_change: ``loss`` less that of the model as it is.
        loss_interval: Its half-width.
    """

    accuracy: float
    loss: float
    accuracy_change: float
    accuracy_interval: float
    loss_change: float
    loss_interval: float


@dataclass(frozen=True)
class CausalReport:
    """A model's dependence on its memory.

    Attributes:
        images: Images scored.
        accuracy: Share of right answers of the model as it is.
        loss: Its cross-entropy in nats.
        effects: By intervention, as `INTERVENTIONS` names them; those on blocks or a head only where it has a memory.
        norm_ratios: A block with a memory each: norm of what a patch retrieves over that of what it is added to,
            averaged over patches.
    """

    images: int
    accuracy: float
    loss: float
    effects: Mapping[str, Effect]
    norm_ratios: tuple[float, ...]

    def summary(self) -> dict[str, float]:
        """All numbers by name, such as ``retrieval_off/accuracy_change``."""
        named = {"accuracy": self.accuracy, "loss": self.loss}
        for name, effect in self.effects.items():
            named |= {f"{name}/{key}": value for key, value in vars(effect).items()}
        return named


Hooks = Callable[[ExitStack, Any], None]
# Of a block: norms of what patches retrieve, and of what it is added to, a batch each.
_Norms = tuple[list[Tensor], list[Tensor]]


class HasModules(Protocol):
    """A model of whatever inputs."""

    def modules(self) -> Iterator[nn.Module]:
        """Return the model and all that it is made of."""


class HasMemories(HasModules, Protocol):
    """One of which some blocks carry a memory."""

    def associative_blocks(self) -> list[AssociativeBlock]:
        """Return those blocks."""


def _retrieval_off(hooks: ExitStack, model: HasMemories) -> None:
    def hook(module: nn.Module, arguments: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(output[0]), output[1]

    for block in model.associative_blocks():
        hooks.enter_context(block.workspace.retrieval.register_forward_hook(hook))


def _equal_priors(hooks: ExitStack, model: HasMemories) -> None:
    def hook(module: nn.Module, arguments: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        tokens, priors = arguments
        return tokens, priors.mean(0, keepdim=True).expand_as(priors)

    for block in model.associative_blocks():
        hooks.enter_context(block.workspace.retrieval.register_forward_pre_hook(hook))


def _shuffled_priors(hooks: ExitStack, model: HasMemories) -> None:
    """Each prior is recalled as before, and gives what the next one holds: order alone would change nothing."""

    def hook(module: Any, arguments: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        weights = output[1]
        return module.proj(weights @ arguments[1].roll(1, 0).to(weights.dtype)), weights

    for block in model.associative_blocks():
        hooks.enter_context(block.workspace.retrieval.register_forward_hook(hook))


@contextmanager
def _replaced(parameter: nn.Parameter, value: Tensor) -> Iterator[None]:
    before = parameter.data
    parameter.data = value
    try:
        yield
    finally:
        parameter.data = before


def _merges(model: HasModules) -> list[RecallMerge]:
    return [module for module in model.modules() if isinstance(module, RecallMerge)]


def _nothing_merged(hooks: ExitStack, model: HasModules) -> None:
    for merge in _merges(model):
        hooks.enter_context(merge.register_forward_hook(lambda module, arguments, output: arguments[0]))


def _equal_merges(hooks: ExitStack, model: HasModules) -> None:
    for merge in _merges(model):
        for part in (merge.keys, merge.values):
            hooks.enter_context(_replaced(part, part.detach().mean(0, keepdim=True).expand_as(part).contiguous()))


def _shuffled_merges(hooks: ExitStack, model: HasModules) -> None:
    for merge in _merges(model):
        hooks.enter_context(_replaced(merge.values, merge.values.detach().roll(1, 0)))


def _head_equal(hooks: ExitStack, model: AssociativeModel) -> None:
    head = model.get_classifier()
    assert isinstance(head, AssociativeHead)
    mean = head.priors().flatten(0, 1).mean(0, keepdim=True)
    hooks.enter_context(_replaced(head.weight, mean.expand_as(head.weight).contiguous()))


def _head_shuffled(hooks: ExitStack, model: AssociativeModel) -> None:
    head = model.get_classifier()
    assert isinstance(head, AssociativeHead)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(head.weight), generator=generator).to(head.weight.device)
    hooks.enter_context(_replaced(head.weight, head.weight.detach()[order]))


def _one_prior(hooks: ExitStack, model: AssociativeModel) -> None:
    head = model.get_classifier()
    assert isinstance(head, AssociativeHead)
    mean = head.priors().mean(1, keepdim=True).expand(-1, head.num_priors, -1)
    hooks.enter_context(_replaced(head.weight, mean.flatten(0, 1).contiguous()))


_ON_BLOCKS: Final[Mapping[str, Hooks]] = {
    "retrieval_off": _retrieval_off,
    "equal_priors": _equal_priors,
    "shuffled_priors": _shuffled_priors,
}
_ON_MERGES: Final[Mapping[str, Hooks]] = {
    "retrieval_off": _nothing_merged,
    "equal_priors": _equal_merges,
    "shuffled_priors": _shuffled_merges,
}
_ON_HEAD: Final[Mapping[str, Hooks]] = {
    "equal_classes": _head_equal,
    "shuffled_classes": _head_shuffled,
    "one_prior_a_class": _one_prior,
}

INTERVENTIONS: Final[Mapping[str, str]] = {
    "retrieval_off": "nothing is retrieved, and nothing merged",
    "equal_priors": "all priors of a block or pass are their mean",
    "shuffled_priors": "each prior gives what another holds",
    "equal_classes": "all priors of the head are their mean",
    "shuffled_classes": "the priors of the head belong to other classes",
    "one_prior_a_class": "the priors of each class are their mean",
}
"""What each intervention does, by name."""


def interventions(model: nn.Module) -> dict[str, Hooks]:
    """List the interventions that a model allows, by name: those on blocks or a head only where it has a memory."""
    found: dict[str, Hooks] = {}
    if isinstance(model, AssociativeModel) and model.associative_blocks():
        found |= _ON_BLOCKS
    if _merges(model):
        found |= _ON_MERGES
    if isinstance(getattr(model, "head", None), AssociativeHead):
        found |= _ON_HEAD
    return found


@torch.no_grad()
def causal_report(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256) -> CausalReport:
    """Measure how a model's answers depend on its memory.

    The model is read in evaluation mode and left as it was; its memory is not written.

    Args:
        model: A model with a memory and a head.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        labels: Their classes, shape (B,), int64.
        batch_size: Images run at once.

    Raises:
        TypeError: The model has no associative memory.
        ValueError: There are no images, or not as many labels.
    """
    if not interventions(model):
        raise TypeError(f"{type(model).__name__} has no associative memory to take away; use an ait_* model with one.")
    if not len(images) or len(labels) != len(images):
        raise ValueError(f"Expected some images and as many labels, got {len(images)} and {len(labels)}.")
    training = model.training
    model.eval()
    try:
        blocks = model.associative_blocks() if isinstance(model, AssociativeModel) else []
        norms: list[_Norms] = [([], []) for _ in blocks]
        right, loss = _scores(model, images, labels, batch_size, partial(_watch_norms, norms=norms))
        effects = {
            name: _effect(right, loss, *_scores(model, images, labels, batch_size, intervene))
            for name, intervene in interventions(model).items()
        }
    finally:
        model.train(training)
    ratios = tuple(
        float((torch.cat(retrieved) / torch.cat(beside).clamp_min(1e-12)).mean()) for retrieved, beside in norms
    )
    return CausalReport(len(images), float(right.mean()), float(loss.mean()), effects, ratios)


@torch.no_grad()
def logits_under(model: nn.Module, images: Tensor, intervention: str) -> Tensor:
    """Answer under an intervention; ``retrieval_off`` beside the model's own logits is what the memory adds.

    Args:
        model: A model with a memory and a head, which is left as it was.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        intervention: One of `INTERVENTIONS`; those on a head are for associative ones.

    Returns:
        Logits, shape (B, num_classes), float32.

    Raises:
        ValueError: There is no such intervention on this model.
    """
    known = interventions(model)
    if intervention not in known:
        raise ValueError(f"Unknown intervention {intervention!r}; choose one of {', '.join(known)}.")
    training = model.training
    model.eval()
    try:
        return _logits(model, images, max(len(images), 1), known[intervention])
    finally:
        model.train(training)


@contextmanager
def disturbed_blocks(model: HasMemories, intervention: str) -> Iterator[None]:
    """Disturb the memories of a model's blocks or passes for a while, whatever the model is asked meanwhile.

    Args:
        model: Left as it was. One with neither answers as ever.
        intervention: One of `INTERVENTIONS` that is on blocks.

    Raises:
        ValueError: There is no such intervention on blocks.
    """
    if intervention not in _ON_BLOCKS:
        raise ValueError(f"Unknown intervention {intervention!r} on blocks; choose one of {', '.join(_ON_BLOCKS)}.")
    with ExitStack() as hooks:
        _ON_BLOCKS[intervention](hooks, model)
        _ON_MERGES[intervention](hooks, model)
        yield


def _watch_norms(hooks: ExitStack, model: nn.Module, norms: list[_Norms]) -> None:
    if not isinstance(model, AssociativeModel):
        return
    for block, found in zip(model.associative_blocks(), norms, strict=True):
        for layer, kept in zip((block.workspace.ls, block.beside()), found, strict=True):

            def hook(module: nn.Module, arguments: Any, output: Tensor, kept: list[Tensor] = kept) -> None:
                kept.append(output[:, model.num_prefix_tokens :].float().norm(dim=-1).flatten())

            hooks.enter_context(layer.register_forward_hook(hook))


def _logits(model: nn.Module, images: Tensor, batch_size: int, intervene: Hooks) -> Tensor:
    with ExitStack() as hooks:
        intervene(hooks, model)
        return torch.cat([answer(model, batch).float() for batch in images.split(batch_size)])


def _scores(
    model: nn.Module, images: Tensor, labels: Tensor, batch_size: int, intervene: Hooks
) -> tuple[Tensor, Tensor]:
    """Points for a right answer, and cross-entropy in nats, of every image: both (B,), float64."""
    logits = _logits(model, images, batch_size, intervene)
    labels = labels.to(logits.device)
    largest = logits.amax(-1, keepdim=True)
    # Classes that hold the same are answered alike but for rounding.
    best = (logits >= largest - _TIE * (1 + largest.abs())).double()
    points = best.gather(-1, labels[:, None]).squeeze(-1) / best.sum(-1)
    return points, F.cross_entropy(logits, labels, reduction="none").double()


def _effect(right: Tensor, loss: Tensor, right_under: Tensor, loss_under: Tensor) -> Effect:
    return Effect(
        accuracy=float(right_under.mean()),
        loss=float(loss_under.mean()),
        accuracy_change=float((right_under - right).mean()),
        accuracy_interval=_interval(right_under - right),
        loss_change=float((loss_under - loss).mean()),
        loss_interval=_interval(loss_under - loss),
    )


def _interval(differences: Tensor) -> float:
    """Half-width of the 95 % interval of a mean; 0 for a single image, which says nothing of others."""
    count = len(differences)
    return float(_HALF_WIDTH * differences.std() / count**0.5) if count > 1 else 0.0


def describe_effects(report: CausalReport) -> str:
    """Show a report as aligned text, one line an intervention, accuracies in percent."""
    lines = [f"{'':>20}  {'accuracy %':>22}  {'loss (nats)':>22}"]
    lines.append(f"{'as it is':>20}  {100 * report.accuracy:>22.2f}  {report.loss:>22.4f}")
    for name, effect in report.effects.items():
        accuracy = f"{100 * effect.accuracy_change:+.2f} ± {100 * effect.accuracy_interval:.2f}"
        loss = f"{effect.loss_change:+.4f} ± {effect.loss_interval:.4f}"
        lines.append(f"{name.replace('_', ' '):>20}  {accuracy:>22}  {loss:>22}")
    if report.norm_ratios:
        ratios = ", ".join(f"{ratio:.1%}" for ratio in report.norm_ratios)
        lines.append(f"norm of what is retrieved over what it is added to, a block each: {ratios}")
    return "\n".join(lines)
