"""Training of many memories at once, against torch's own optimisers."""

import pytest
import torch
import torch.nn.functional as F

from ait.memory.trained import Memories, Training, initial_memories, train_memories

TARGETS = torch.arange(12) % 3


def setting(training: Training, repeats: int = 3) -> tuple[Memories, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    memories = initial_memories(repeats, 12, 3, 8, training, generator)
    return memories, torch.randint(12, (repeats, 40), generator=generator)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("model", ["matrix", "learnable", "exponential"])
def test_gradient_descent_is_that_of_torch(model: str, layer_norm: bool) -> None:
    training = Training(model, rate=0.5, batch=10, layer_norm=layer_norm)
    memories, samples = setting(training)
    trained = train_memories(memories, samples, TARGETS, training)
    parameters = [memories.inputs[1].clone(), memories.outputs[1].clone()]
    if memories.matrix is not None:
        parameters.append(memories.matrix[1].clone())
    learnt = parameters[2:] if model == "matrix" else parameters
    optimiser = torch.optim.SGD([p.requires_grad_() for p in learnt], lr=0.5)
    for batch in samples[1].split(10):
        read = parameters[0][batch]
        read = read.relu() if model == "exponential" else read @ parameters[2]
        if layer_norm:
            read = read / (read.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        optimiser.zero_grad()
        F.cross_entropy(read @ parameters[1].mT, TARGETS[batch]).backward()
        optimiser.step()
    torch.testing.assert_close(trained.inputs[1], parameters[0].detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(trained.outputs[1], parameters[1].detach(), rtol=1e-4, atol=1e-6)
    if trained.matrix is not None:
        torch.testing.assert_close(trained.matrix[1], parameters[2].detach(), rtol=1e-4, atol=1e-6)


def test_adam_without_averages_is_that_of_torch() -> None:
    training = Training(optimiser="adam", rate=2.0, batch=10)
    memories, samples = setting(training, repeats=1)
    trained = train_memories(memories, samples, TARGETS, training)
    assert memories.matrix is not None
    assert trained.matrix is not None
    matrix = memories.matrix[0].clone().requires_grad_()
    optimiser = torch.optim.Adam([matrix], lr=2.0 / 8, betas=(0.0, 0.0))
    for batch in samples[0].split(10):
        optimiser.zero_grad()
        F.cross_entropy(memories.inputs[0][batch] @ matrix @ memories.outputs[0].mT, TARGETS[batch]).backward()
        optimiser.step()
    # The smallest gradients are of the size of Adam's 1e-8, and of rounding.
    assert float((trained.matrix[0] - matrix.detach()).abs().median()) < 1e-3


@pytest.mark.parametrize("optimiser", ["sign", "rescaled", "adam"])
def test_step_lengths(optimiser: str) -> None:
    training = Training(optimiser=optimiser, rate=1.0, batch=40)
    memories, samples = setting(training)
    trained = train_memories(memories, samples, TARGETS, training)
    assert trained.matrix is not None
    assert memories.matrix is not None
    lengths = (trained.matrix - memories.matrix).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(3), rtol=0.02, atol=0)  # 64 entries of 1/8
    assert torch.equal(trained.inputs, memories.inputs)


def test_what_does_not_exist_is_refused() -> None:
    for arguments in ({"model": "none"}, {"optimiser": "none"}, {"rate": 0.0}, {"batch": 0}):
        with pytest.raises(ValueError, match=r"Choose|Need"):
            Training(**arguments)
