"""Losses an image: what torch and timm compute, and linear in the targets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
from torch.nn import functional as F

from training.data import class_weights
from training.step.loss import Loss, sample_losses

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1, 2, 0])
OTHERS = torch.tensor([2, 3, 0, 2, 1, 1])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.5])
KINDS: list[Loss] = ["cross_entropy", "bce"]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_torchs(smoothing: float, weights: torch.Tensor | None) -> None:
    expected = F.cross_entropy(LOGITS, LABELS, weights, label_smoothing=smoothing, reduction="sum")
    losses = sample_losses(LOGITS, LABELS, "cross_entropy", smoothing, weights)
    assert losses.shape == (6,)
    torch.testing.assert_close(losses.sum(), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_cross_entropy_and_bce_are_timms(smoothing: float) -> None:
    soft = LOGITS.flip(0).softmax(dim=1)
    torch.testing.assert_close(sample_losses(LOGITS, soft).mean(), SoftTargetCrossEntropy()(LOGITS, soft))
    losses = sample_losses(LOGITS, LABELS, "bce", smoothing)
    torch.testing.assert_close(losses.mean(), BinaryCrossEntropy(smoothing)(LOGITS, LABELS))
    weighted = sample_losses(LOGITS, LABELS, "bce", smoothing, WEIGHTS)
    torch.testing.assert_close(weighted, losses * WEIGHTS[LABELS])


@pytest.mark.parametrize("kind", KINDS)
def test_class_weights_make_rare_classes_likelier_and_keep_the_scale(kind: Loss) -> None:
    labels = torch.tensor([0] * 9 + [1])
    weights = class_weights(labels, classes=2)
    logits = torch.zeros(10, 2, requires_grad=True)
    weighted, plain = (sample_losses(logits, labels, kind, class_weights=each).mean() for each in (weights, None))
    torch.testing.assert_close(weighted, plain)
    # All images being alike, equal weights of the classes leave nothing that speaks for one of them.
    (gradients,) = torch.autograd.grad(weighted, logits)
    torch.testing.assert_close(gradients.sum(dim=0), torch.zeros(2))


@pytest.mark.parametrize("kind", KINDS)
@given(weight=st.floats(0, 1), smoothing=st.floats(0, 0.9), weighted=st.booleans())
@settings(max_examples=25, deadline=None)
def test_loss_of_mixed_targets_is_the_mixture_of_losses(
    kind: Loss, weight: float, smoothing: float, weighted: bool
) -> None:
    weights = WEIGHTS if weighted else None
    mixed = weight * F.one_hot(LABELS, 4) + (1 - weight) * F.one_hot(OTHERS, 4)
    first, second = (sample_losses(LOGITS, value, kind, smoothing, weights) for value in (LABELS, OTHERS))
    got = sample_losses(LOGITS, mixed.float(), kind, smoothing, weights)
    torch.testing.assert_close(got, weight * first + (1 - weight) * second)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits_give_float32_losses(kind: Loss) -> None:
    losses = sample_losses(LOGITS.bfloat16(), LABELS, kind)
    assert losses.dtype == torch.float32
    assert torch.equal(losses, sample_losses(LOGITS.bfloat16().float(), LABELS, kind))
