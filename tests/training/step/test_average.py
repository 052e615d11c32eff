"""Averaged weights follow the model's; its buffers are not averaged."""

import torch
from torch import nn

from training.step.average import WeightAverage


def test_average_moves_parameters_and_leaves_buffers() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("priors", torch.zeros(3))
    average = WeightAverage(model, 0.9)
    for step in range(1, 30):
        model.priors.fill_(float(step))
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(model, step=step)
    with average.applied(model):
        assert (model.priors == 29).all()
        assert (model.weight < 29).all()
        assert (model.weight > 1).all()
        kept = {name: value.clone() for name, value in model.state_dict().items()}
    assert (model.weight == 29).all()
    other = WeightAverage(nn.Linear(2, 2), 0.9)
    other.load(model, kept)
    with other.applied(model):
        assert torch.equal(model.weight, kept["weight"])
