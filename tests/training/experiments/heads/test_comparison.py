"""The comparison of heads: what is written, what is counted, and one training of the experiment."""

import pytest
import torch
from torch import nn

from ait.memory.associative_head import AssociativeHead
from training.experiments.heads.comparison import (
    CLASSES,
    HEADS,
    KNOWN,
    Split,
    compare,
    logits_after_writes,
    make_head,
    synthetic,
)


@pytest.mark.parametrize("kind", ["linear", "cosine", "associative"])
def test_written_classes_are_answered_and_the_head_stays(kind: str) -> None:
    torch.manual_seed(0)
    head = make_head(kind, CLASSES, KNOWN)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    labels = torch.arange(CLASSES).repeat(4)
    train = Split(5 * nn.functional.one_hot(labels).float() + 0.1 * torch.randn(len(labels), CLASSES), labels)
    with torch.no_grad():
        logits = logits_after_writes(head, train, train.features, range(CLASSES), 3)
    assert logits.shape == (40, CLASSES)
    assert (logits.argmax(-1) == labels).all()
    torch.testing.assert_close(head.state_dict(), before, rtol=0, atol=0)
    assert not isinstance(head, AssociativeHead) or head.num_classes == KNOWN


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_learns(kind: str) -> None:
    found = compare(kind, synthetic(1500, 0, 0), synthetic(500, 0, 1), steps=150, seed=0)
    assert found["accuracy"] > 0.6
    assert found["unknown"] > 0.5
    assert found["writes alone, 20"] > 0.3
