"""Associative memories that are trained: matrices, learnt embeddings, and rectified embeddings (arXiv 2310.02984).

Many memories train at once, one for each seed, as one batch. Logits of input x over outputs y:

    matrix        e_x^T W u_y with W learnt, e and u random
    learnable     the same, with e and u learnt too
    exponential   relu(e_x)^T u_y with e and u learnt

"""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

MODELS: Final = ("matrix", "learnable", "exponential")
OPTIMISERS: Final = ("sgd", "adam", "sign", "rescaled")

_EPS = 1e-8


@dataclass(frozen=True)
class Training:
    """How a memory is trained.

    Attributes:
        model: One of ``MODELS``.
        optimiser: ``sgd``; ``adam`` without averages (both betas zero): each entry moves by its gradient over the
            gradient's size plus 1e-8; ``sign``: by the gradient's sign; ``rescaled``: the gradient over its Euclidean
            norm. The last three scale the rate by 1/d for W and by 1/sqrt(d) for embeddings, as the paper does.
        rate: Learning rate.
        batch: Samples a step.
        layer_norm: Divide what the memory returns by its Euclidean norm before the outputs are compared.
    """

    model: str = "matrix"
    optimiser: str = "sgd"
    rate: float = 1.0
    batch: int = 1024
    layer_norm: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            ValueError: If the model or optimiser is unknown, or a number is not positive.
        """
        if self.model not in MODELS or self.optimiser not in OPTIMISERS:
            raise ValueError(f"Choose one of {MODELS} and of {OPTIMISERS}, got {self.model!r} and {self.optimiser!r}.")
        if self.rate <= 0 or self.batch < 1:
            raise ValueError(f"Need rate > 0 and batch >= 1, got {self.rate} and {self.batch}.")


@dataclass(frozen=True)
class Memories:
    """R memories with N inputs, M outputs and width d.

    Attributes:
        inputs: Embeddings e, shape (R, N, d).
        outputs: Embeddings u, shape (R, M, d).
        matrix: W, shape (R, d, d); None in the exponential model.
        layer_norm: See `Training`.
    """

    inputs: Tensor
    outputs: Tensor
    matrix: Tensor | None
    layer_norm: bool = False

    def logits(self, index: Tensor | None = None) -> Tensor:
        """Score the outputs of chosen inputs.

        Args:
            index: Inputs, shape (R, B); None: all.

        Returns:
            Logits, shape (R, B, M), or (R, N, M) for all inputs.
        """
        read = self.inputs
        if index is not None:
            read = read.gather(1, index.unsqueeze(-1).expand(-1, -1, read.shape[-1]))
        read = read.relu() if self.matrix is None else read @ self.matrix
        if self.layer_norm:
            read = read / (read.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        return read @ self.outputs.mT


def initial_memories(
    repeats: int, inputs: int, outputs: int, dim: int, training: Training, generator: torch.Generator
) -> Memories:
    """Draw memories with Gaussian entries of variance 1/d.

    Args:
        repeats: Number R of memories.
        inputs: Number N of inputs.
        outputs: Number M of outputs.
        dim: Width d.
        training: Names the model.
        generator: Source of randomness.
    """

    def normal(rows: int) -> Tensor:
        return torch.randn(repeats, rows, dim, generator=generator) / dim**0.5

    matrix = None if training.model == "exponential" else normal(dim)
    return Memories(normal(inputs), normal(outputs), matrix, training.layer_norm)


def train_memories(memories: Memories, samples: Tensor, targets: Tensor, training: Training) -> Memories:
    """Train memories on cross-entropy, in one pass over their samples.

    Args:
        memories: Where to start.
        samples: Inputs in the order of training, shape (R, T); samples beyond the last full batch are left out.
        targets: f, shape (N,).
        training: Optimiser, rate and batch.

    Returns:
        Trained memories.
    """
    dim = memories.inputs.shape[-1]
    embeddings = training.model != "matrix"
    state = {"inputs": memories.inputs.clone(), "outputs": memories.outputs.clone()}
    if memories.matrix is not None:
        state["matrix"] = memories.matrix.clone()
    learnt = [name for name in state if name == "matrix" or embeddings]
    for name in learnt:
        state[name].requires_grad_()
    for start in range(0, samples.shape[1] - training.batch + 1, training.batch):
        index = samples[:, start : start + training.batch]
        model = Memories(state["inputs"], state["outputs"], state.get("matrix"), training.layer_norm)
        # Mean over the batch, sum over the memories, which do not know each other.
        loss = F.cross_entropy(model.logits(index).flatten(0, 1), targets[index].flatten(), reduction="sum")
        gradients = torch.autograd.grad(loss / training.batch, [state[name] for name in learnt])
        with torch.no_grad():
            for name, gradient in zip(learnt, gradients, strict=True):
                scale = 1.0 if training.optimiser == "sgd" else dim**-1.0 if name == "matrix" else dim**-0.5
                state[name] -= training.rate * scale * _direction(gradient, training.optimiser)
    trained = {name: value.detach() for name, value in state.items()}
    return Memories(trained["inputs"], trained["outputs"], trained.get("matrix"), training.layer_norm)


def _direction(gradient: Tensor, optimiser: str) -> Tensor:
    """Turn a gradient (R, rows, d) into a step."""
    if optimiser == "adam":
        return gradient / (gradient.abs() + _EPS)
    if optimiser == "sign":
        return gradient.sign()
    if optimiser == "rescaled":
        # As long as a step of signs would be: the square root of the number of entries.
        size = gradient.flatten(1).norm(dim=1).clamp_min(_EPS)[:, None, None]
        return gradient / size * gradient[0].numel() ** 0.5
    return gradient
