"""BRIMs' modules attend, compete, step and talk as arXiv 2006.16981 says."""

import math

import pytest
import torch
from torch import Tensor

from ait.baselines.brims import BRIMs, BRIMsLayer, ModuleState
from tests.support.models.attention_reference import attend

MODULES, ACTIVE, WIDTH = 4, 2, 4


def step(layer: BRIMsLayer, hidden: Tensor, cell: Tensor, sources: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The next hidden and cell states (n, d) of one image, one module after another."""
    idle, hidden_new, cell_new = [], [], []
    heads = layer.sources.num_heads
    for number in range(MODULES):
        query = hidden[number] @ layer.sources.query[number]
        width = len(query) // heads
        read, nothing = [], []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            exponents = [math.exp(0.0)]
            for make, source in zip(layer.sources.keys, sources, strict=True):
                exponents.append(math.exp(float(query[part] @ (make.weight @ source)[part]) / math.sqrt(width)))
            values = [make.weight @ source for make, source in zip(layer.sources.values, sources, strict=True)]
            share = len(values[0]) // heads
            terms = [
                weight / sum(exponents) * value[head * share : (head + 1) * share]
                for weight, value in zip(exponents[1:], values, strict=True)
            ]
            read.append(sum(terms))
            nothing.append(exponents[0] / sum(exponents))
        idle.append(sum(nothing) / heads)
        gates = torch.cat([*read, hidden[number]]) @ layer.cell.weight[number] + layer.cell.bias[number]
        gate_in, forget, candidate, out = gates.split(WIDTH)
        cell_new.append(torch.sigmoid(forget) * cell[number] + torch.sigmoid(gate_in) * torch.tanh(candidate))
        hidden_new.append(torch.sigmoid(out) * torch.tanh(cell_new[-1]))
    talk = attend(layer.communicate, torch.stack(hidden_new), torch.stack(hidden_new))
    keen = sorted(range(MODULES), key=lambda number: idle[number])[:ACTIVE]
    result = [
        (hidden_new[number] + talk[number], cell_new[number]) if number in keen else (hidden[number], cell[number])
        for number in range(MODULES)
    ]
    return torch.stack([state for state, _ in result]), torch.stack([state for _, state in result])


def test_the_keenest_modules_step() -> None:
    layer = BRIMsLayer(MODULES, ACTIVE, WIDTH, [6, 16], head_dim=3)
    torch.nn.init.normal_(layer.sources.query)
    hidden, cell = torch.randn(2, MODULES, WIDTH), torch.randn(2, MODULES, WIDTH)
    sources = [torch.randn(2, 6), torch.randn(2, 16)]
    found = layer(ModuleState(hidden, cell), sources)
    for image in range(2):
        expected = step(layer, hidden[image], cell[image], [source[image] for source in sources])
        torch.testing.assert_close(found.hidden[image], expected[0])
        torch.testing.assert_close(found.cell[image], expected[1])
        assert (found.hidden[image] != hidden[image]).any(dim=1).sum() == ACTIVE


def test_a_layer_sees_below_as_it_is_and_above_as_it_was() -> None:
    model = BRIMs(8, 4, num_classes=3, embed_dim=6, hidden_dim=16, num_modules=MODULES, num_active=ACTIVE).eval()
    images = torch.randn(1, 3, 8, 8)
    states = [(torch.zeros(MODULES, WIDTH), torch.zeros(MODULES, WIDTH)) for _ in range(2)]
    for patch in model.patch_embed(images)[0]:
        states[0] = step(model.layers[0], *states[0], [patch, states[1][0].flatten()])
        states[1] = step(model.layers[1], *states[1], [states[0][0].flatten()])
    torch.testing.assert_close(model.forward_features(images)[0], states[1][0])


def test_idle_modules_learn_nothing_from_being_read() -> None:
    layer = BRIMsLayer(MODULES, ACTIVE, WIDTH, [6])
    source = torch.randn(1, 6)
    with torch.enable_grad():
        torch.nn.init.normal_(layer.sources.query)
        state = ModuleState(torch.randn(1, MODULES, WIDTH), torch.randn(1, MODULES, WIDTH))
        new = layer(state, [source])
        active = (new.cell != state.cell).any(-1)[0]
        new.hidden[0, active].sum().backward()
    assert layer.cell.weight.grad is not None
    moved = layer.cell.weight.grad.flatten(1).abs().sum(1) > 0
    assert torch.equal(moved, active)


def test_modules_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden_dim"):
        BRIMs(8, 4, hidden_dim=10, num_modules=4)
