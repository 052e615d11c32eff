"""Energies of stored patterns, and retrieval as descent on them.

Three kernels share one interface. With patterns ``y_1 .. y_M``, query ``x`` and inverse temperature ``beta``:

* ``dot``: modern Hopfield network, ``E = -lse(beta x.y) / beta + x.x / 2 + log(M) / beta + max|y|^2 / 2``
  (Ramsauer et al., arXiv 2008.02217; Associative Transformer, arXiv 2309.12862, eq. 9).
* ``d2``: squared distance, ``E = -log(sum_i exp(-beta |x - y_i|^2 / 2)) / beta`` (arXiv 2405.08707).
* ``d1``: distance, ``E = -log(sum_i exp(-beta |x - y_i|)) / beta`` (arXiv 2405.08707).

One retrieval step never raises the energy of its own kernel.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

KERNELS: Final = ("dot", "d2", "d1")

# A query that coincides with a pattern has distance zero, where the Weiszfeld weights of `d1` are infinite.
_SMALLEST_DISTANCE = 1e-6


def _check_kernel(kernel: str) -> None:
    if kernel not in KERNELS:
        raise ValueError(f"Unknown retrieval kernel {kernel!r}; choose one of {', '.join(KERNELS)}.")


def _squared_distances(query: Tensor, patterns: Tensor) -> Tensor:
    """Squared distances (..., M), by differences: the expanded form cancels when query and pattern meet."""
    return (query.unsqueeze(-2) - patterns).square().sum(-1)


def _similarity(query: Tensor, patterns: Tensor, beta: float | Tensor, kernel: str) -> Tensor:
    """Exponents of the kernel, (..., M), whose log-sum-exp is the energy up to sign, scale and constants."""
    if kernel == "dot":
        return beta * (query @ patterns.mT)
    squared = _squared_distances(query, patterns)
    if kernel == "d2":
        return -0.5 * beta * squared
    return -beta * squared.clamp_min(_SMALLEST_DISTANCE**2).sqrt()


def energy(query: Tensor, patterns: Tensor, beta: float | Tensor = 1.0, kernel: str = "dot") -> Tensor:
    """Energy of each query under the stored patterns.

    Args:
        query: Queries, shape (..., E).
        patterns: Stored patterns, shape (M, E).
        beta: Inverse temperature, positive.
        kernel: ``dot``, ``d2`` or ``d1``.

    Returns:
        Energies, shape (...).

    Raises:
        ValueError: If the kernel is unknown.
    """
    _check_kernel(kernel)
    free_energy = -torch.logsumexp(_similarity(query, patterns, beta, kernel), dim=-1) / beta
    if kernel != "dot":
        return free_energy
    largest = patterns.square().sum(-1).max()
    return free_energy + 0.5 * query.square().sum(-1) + math.log(patterns.shape[0]) / beta + 0.5 * largest


def recall_weights(query: Tensor, patterns: Tensor, beta: float | Tensor = 1.0, kernel: str = "dot") -> Tensor:
    """How strongly each query recalls each pattern.

    Args:
        query: Queries, shape (..., E).
        patterns: Stored patterns, shape (M, E).
        beta: Inverse temperature, positive.
        kernel: ``dot``, ``d2`` or ``d1``.

    Returns:
        Row-stochastic weights, shape (..., M). For ``d1`` they are the weights of Weiszfeld's step,
        proportional to ``p_i / |x - y_i|``.

    Raises:
        ValueError: If the kernel is unknown.
    """
    _check_kernel(kernel)
    weights = torch.softmax(_similarity(query, patterns, beta, kernel), dim=-1)
    if kernel == "d1":
        distance = _squared_distances(query, patterns).clamp_min(_SMALLEST_DISTANCE**2).sqrt()
        weights = weights / distance
        weights = weights / weights.sum(-1, keepdim=True)
    return weights


def retrieve(
    query: Tensor, patterns: Tensor, beta: float | Tensor = 1.0, kernel: str = "dot", steps: int = 1
) -> Tensor:
    """Descend the energy from each query: ``x <- recall_weights(x) @ patterns``, ``steps`` times.

    Args:
        query: Queries, shape (..., E).
        patterns: Stored patterns, shape (M, E).
        beta: Inverse temperature, positive.
        kernel: ``dot``, ``d2`` or ``d1``.
        steps: Number of retrieval steps.

    Returns:
        Retrieved patterns, shape (..., E).

    Raises:
        ValueError: If the kernel is unknown.
    """
    for _ in range(steps):
        query = recall_weights(query, patterns, beta, kernel) @ patterns
    return query


def _widened(x: Tensor) -> Tensor:
    """Give half precision as float32, and any other as it is."""
    return x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x


class FoldedLinear(nn.Linear):
    """A linear map without bias whose weight others multiply with directly.

    A class of its own, so that tools which replace ``nn.Linear`` by modules without a plain weight, such as
    ``torch.ao.quantization.quantize_dynamic``, leave it alone.
    """


class HopfieldRetrieval(nn.Module):
    """Reconstructs tokens from priors that live in a narrow space.

    The stored patterns are ``Y = priors @ W^T`` with ``W`` the bias-free linear map of shape (E, D) from prior
    to token space (``f_LT`` of arXiv 2309.12862, whose bias would add one constant to every pattern). All
    products with ``Y`` are taken in the D-wide prior space, which is equal and cheaper because D << E:
    ``h Y^T = (h W) priors^T`` and ``p Y = (p priors) W^T``.

    Args:
        dim: Token width E.
        prior_dim: Prior width D.
        kernel: ``dot``, ``d2`` or ``d1``.
        beta: Inverse temperature, or its starting value if it is learned.
        learn_beta: Learn the logarithm of beta.
        steps: Number of retrieval steps.
    """

    kernel: Final[str]
    steps: Final[int]
    learn_beta: Final[bool]

    def __init__(
        self,
        dim: int,
        prior_dim: int,
        kernel: str = "dot",
        beta: float = 1.0,
        learn_beta: bool = False,
        steps: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_kernel(kernel)
        if beta <= 0 or steps < 1:
            raise ValueError(f"Retrieval needs beta > 0 and steps >= 1, got beta={beta}, steps={steps}.")
        self.kernel = kernel
        self.steps = steps
        self.learn_beta = learn_beta
        self.fixed_beta = float(beta)
        # Distances from norms and overlaps cancel where query and pattern meet, more than distances from differences.
        self.min_squared_distance = 1e-6
        self.proj = FoldedLinear(prior_dim, dim, bias=False, device=device, dtype=dtype)
        if learn_beta:
            self.log_beta = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        else:
            self.register_parameter("log_beta", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with orthonormal columns in ``W``, so that the patterns are as distinct as the priors."""
        weight = torch.empty_like(self.proj.weight, dtype=torch.float32)  # no QR in half precision
        nn.init.orthogonal_(weight)
        with torch.no_grad():
            self.proj.weight.copy_(weight)
        if self.log_beta is not None:
            nn.init.constant_(self.log_beta, math.log(self.fixed_beta))

    def beta(self) -> Tensor:
        """Return the inverse temperature, a scalar tensor."""
        if self.log_beta is not None:
            return self.log_beta.exp()
        return torch.full((), self.fixed_beta, device=self.proj.weight.device, dtype=self.proj.weight.dtype)

    def patterns(self, priors: Tensor) -> Tensor:
        """Compute the patterns Y stored for priors of shape (M, D), in token space, shape (M, E)."""
        return self.proj(priors.to(self.proj.weight.dtype))

    def weights(self, tokens: Tensor, priors: Tensor) -> Tensor:
        """Weights with which the last retrieval step recalls each prior, shape (..., M)."""
        return self._descend(tokens, priors)

    def forward(self, tokens: Tensor, priors: Tensor) -> tuple[Tensor, Tensor]:
        """Retrieve every token from the priors.

        Args:
            tokens: Queries, shape (..., E).
            priors: Memory, shape (M, D).

        Returns:
            Retrieved tokens, shape (..., E), and the recall weights of the last step, shape (..., M).
        """
        weights = self._descend(tokens, priors)
        recalled = weights @ priors.to(weights.dtype)  # (..., D)
        return self.proj(recalled), weights

    def _descend(self, tokens: Tensor, priors: Tensor) -> Tensor:
        weight = self.proj.weight  # (E, D)
        priors = priors.to(weight.dtype)
        beta = self.beta()
        projected = tokens @ weight.to(tokens.dtype)  # (..., D), h W
        if self.kernel == "dot" and self.steps == 1:
            return torch.softmax((beta * projected) @ priors.to(projected.dtype).mT, dim=-1)

        gram = weight.mT @ weight  # (D, D), carries lengths and angles of W back to the prior space
        pattern_norms = ((priors @ gram) * priors).sum(-1)  # (M,), |y|^2
        token_norms = _widened(tokens).square().sum(-1, keepdim=True)  # (..., 1), |h|^2
        recall = torch.empty(0)
        for step in range(self.steps):
            overlap = projected @ priors.to(projected.dtype).mT  # (..., M), h.y
            if self.kernel == "dot":
                recall = torch.softmax(beta * overlap, dim=-1)
            elif self.kernel == "d2":
                # |h|^2 is the same for every pattern, so the softmax does not see it.
                recall = torch.softmax(beta * (overlap - 0.5 * pattern_norms), dim=-1)
            else:
                # Beside |h|^2, half precision would round away by what patterns differ.
                squared = token_norms - 2 * _widened(overlap) + _widened(pattern_norms)
                distance = squared.clamp_min(self.min_squared_distance).sqrt()
                recall = torch.softmax(-beta * distance, dim=-1) / distance
                recall = (recall / recall.sum(-1, keepdim=True)).to(tokens.dtype)
            if step + 1 < self.steps:
                recalled = recall @ priors.to(recall.dtype)  # (..., D)
                projected = recalled @ gram.to(recalled.dtype)
                token_norms = _widened(projected * recalled).sum(-1, keepdim=True)
        return recall
