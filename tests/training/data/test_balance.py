"""Rare classes are visited, or weighed, as much as others."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from training.data import balanced_order, class_weights


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60), seed=st.integers(0, 2**31))
def test_order_is_as_long_as_the_set_and_a_function_of_seed_and_epoch(labels: list[int], seed: int) -> None:
    given_labels = torch.tensor(labels)
    order = balanced_order(given_labels, seed, epoch=1)
    assert order.shape == (len(labels),)
    assert order.min() >= 0
    assert order.max() < len(labels)
    assert torch.equal(order, balanced_order(given_labels, seed, epoch=1))


def test_every_class_and_every_image_of_a_class_is_visited_alike() -> None:
    # Class 1 does not occur; images of the three others are mixed.
    labels = torch.tensor([0] * 90 + [2] * 9 + [3]).repeat(100)[torch.randperm(10_000)]
    order = balanced_order(labels, seed=0, epoch=0)
    visits = labels[order].bincount().tolist()
    assert visits[1] == 0
    for label in (0, 2, 3):
        assert abs(visits[label] - 10_000 / 3) < 200
    # 100 images of class 3, visited 33 times each on average.
    each = order[labels[order] == 3].bincount(minlength=10_000)[labels == 3]
    assert each.min() > 10
    assert each.max() < 65
    assert not torch.equal(order, balanced_order(labels, seed=0, epoch=1))
    assert not torch.equal(order, balanced_order(labels, seed=1, epoch=0))


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_weights_are_inverse_to_frequency_and_keep_the_losss_scale(labels: list[int]) -> None:
    given_labels = torch.tensor(labels)
    weights = class_weights(given_labels, classes=7)
    assert weights.shape == (7,)
    assert weights[given_labels].mean().item() == pytest.approx(1, rel=1e-5)
    shares = [weights[label].item() * labels.count(label) for label in set(labels)]
    assert shares == pytest.approx([shares[0]] * len(shares), rel=1e-5)
    # The same logits for every image: the loss is as if all classes were equally frequent.
    logits = torch.randn(7, generator=torch.Generator().manual_seed(0)).expand(len(labels), -1)
    loss = F.cross_entropy(logits, given_labels, weight=weights, reduction="sum") / len(labels)
    present = torch.tensor(sorted(set(labels)))
    assert loss.item() == pytest.approx(-logits[0].log_softmax(dim=0)[present].mean().item(), rel=1e-4)
