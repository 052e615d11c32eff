"""The layer that learns to recall."""

import pytest
import torch

from training.experiments.retrieval.trained_recall import KEYS, PAIRS, PUBLISHED, VALUES, RecallLayer, draw


def test_keys_are_distinct() -> None:
    keys, values = draw(20, torch.Generator().manual_seed(0))
    assert keys.shape == values.shape == (20, PAIRS)
    assert all(len(set(row)) == PAIRS for row in keys.tolist())


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_every_part_of_a_layer_learns(name: str) -> None:
    torch.manual_seed(0)
    layer = RecallLayer(name)
    layer(*draw(2, torch.Generator().manual_seed(0))).square().mean().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any()


@pytest.mark.parametrize("name", ["linear", "round", "relu"])
def test_a_layer_with_orthonormal_keys_recalls_everything(name: str) -> None:
    layer = RecallLayer(name, dim=KEYS)
    with torch.no_grad():
        layer.keys.copy_(torch.eye(KEYS))
        layer.queries.copy_(torch.eye(KEYS))
        layer.values.copy_(torch.eye(VALUES, 2 * KEYS))
        layer.head.weight.copy_(torch.eye(VALUES, 2 * KEYS))
        layer.head.bias.zero_()
        layer.erase.fill_(-torch.inf)
    keys, values = draw(4, torch.Generator().manual_seed(0))
    assert (layer(keys, values).argmax(-1) == values).all()
