"""One energy over all layers of a model, and what it says of data (arXiv 2405.08707).

A layer t with patterns ``y_1 .. y_M`` has the energy ``E_t(x)`` of ``ait.memory.hopfield``; all layers together have

    E_glob(x) = -log(sum_t exp(-beta E_t(x))) / beta,

which for the ``d1`` and ``d2`` kernels is the energy of the union of all layers' patterns. The nearest-neighbour view
takes every energy to be the distance ``g(x) = min_i |x - y_i|`` to the nearest pattern, up to ``log(M) / beta``.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def global_energy(energies: Tensor, beta: float = 1.0) -> Tensor:
    """Combine the energies of layers.

    Args:
        energies: Energy of each layer, shape (..., L).
        beta: Inverse temperature with which the layers' energies were computed.

    Returns:
        Global energies, shape (...).
    """
    return -torch.logsumexp(-beta * energies, dim=-1) / beta


def responsibilities(energies: Tensor, beta: float = 1.0) -> Tensor:
    """Share the global energy among layers: ``w_t = softmax(-beta E_t)``.

    Args:
        energies: Energy of each layer, shape (..., L).
        beta: Inverse temperature.

    Returns:
        Weights that sum to one, shape (..., L); also the gradient of the global energy by the layers' energies.
    """
    return torch.softmax(-beta * energies, dim=-1)


def majoriser(energies: Tensor, reference: Tensor, beta: float = 1.0) -> Tensor:
    """Bound the global energy from above, by its tangent at a reference point.

    ``E_glob(x) <= E_glob(x0) + sum_t w_t(x0) (E_t(x) - E_t(x0))``, with equality at ``x = x0``: the global energy is
    concave in the layers' energies. A step that lowers the weighted sum of energies lowers the global energy.

    Args:
        energies: Energies of the layers at x, shape (..., L).
        reference: Energies of the layers at x0, shape (..., L).
        beta: Inverse temperature.

    Returns:
        Upper bounds of the global energy at x, shape (...).
    """
    weights = responsibilities(reference, beta)
    return global_energy(reference, beta) + (weights * (energies - reference)).sum(-1)


def nearest_pattern(queries: Tensor, patterns: Tensor, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """Find the nearest pattern of each query.

    Args:
        queries: Shape (Q, E).
        patterns: Shape (M, E).
        exclude_self: Leave out pattern i for query i, where the queries are the patterns.

    Returns:
        Distances g, shape (Q,), and indices, shape (Q,).
    """
    # Not from norms and products, which cancel where a query meets a pattern.
    distances = torch.cdist(queries, patterns, compute_mode="donot_use_mm_for_euclid_dist")
    if exclude_self:
        distances.fill_diagonal_(torch.inf)
    nearest, index = distances.min(-1)
    return nearest, index


def separation_radius(patterns: Tensor) -> Tensor:
    """Compute the largest radius at which balls around the patterns are disjoint.

    Args:
        patterns: Shape (M, E), M at least 2.

    Returns:
        Half of the smallest distance between two patterns, a scalar.
    """
    return nearest_pattern(patterns, patterns, exclude_self=True)[0].min() / 2


def nearest_neighbour_bounds(
    nearest: Tensor, count: int, beta: float = 1.0, kernel: str = "d1"
) -> tuple[Tensor, Tensor]:
    """Bound the energy of a query by its distance g to the nearest pattern alone.

    ``g - log(M)/beta <= E_d1 <= g`` and ``g^2/2 - log(M)/beta <= E_d2 <= g^2/2``.

    Args:
        nearest: Distances g, any shape.
        count: Number M of patterns.
        beta: Inverse temperature.
        kernel: ``d1`` or ``d2``.

    Returns:
        Lower and upper bounds, shaped as `nearest`.

    Raises:
        ValueError: If the kernel is another one.
    """
    if kernel not in ("d1", "d2"):
        raise ValueError(f"Bounds are known for d1 and d2, not for {kernel!r}.")
    upper = nearest if kernel == "d1" else 0.5 * nearest.square()
    return upper - math.log(count) / beta, upper


def separated_cross_entropy(dim: int, radius: float, count: int, mean_energy: float = 0.0) -> float:
    """Compute the cross-entropy of data under ``p(x) = exp(-g(x)) / Z`` on disjoint balls around patterns.

    ``L = E[g] + log D + log(2 pi^(n/2) / Gamma(n/2)) + log gamma(n, r)`` with the lower incomplete gamma function. It
    is a differential entropy, and may be negative.

    Args:
        dim: Dimensions n.
        radius: Radius r of each ball.
        count: Number D of balls.
        mean_energy: Mean distance E[g] of the data to their nearest pattern; 0 for the patterns themselves.

    Returns:
        The cross-entropy in nats.
    """
    log_sphere = math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)
    return mean_energy + math.log(count) + log_sphere + _log_lower_gamma(dim, radius)


def _log_lower_gamma(dim: int, radius: float) -> float:
    """Logarithm of the lower incomplete gamma function ``gamma(n, r)``."""
    share = float(torch.special.gammainc(*torch.tensor([dim, radius], dtype=torch.float64)))
    if share > 0:
        return math.log(share) + math.lgamma(dim)
    # Where r is far below n the share underflows: r^n e^-r sum_k r^k / (n (n + 1) ... (n + k)), which falls fast.
    term = total = 1 / dim
    index = dim
    while term > 1e-17 * total:
        index += 1
        term *= radius / index
        total += term
    return dim * math.log(radius) - radius + math.log(total)


def log_log_slope(arguments: Sequence[float], values: Sequence[float]) -> float:
    """Fit the exponent s of ``value = c * argument^s`` by least squares of the logarithms.

    For patterns that a memory can hold against its parameters it is the law ``N = O(D^2)``: fitted as parameters
    against patterns, s is 2.

    Args:
        arguments: Positive numbers, at least two different ones.
        values: Positive numbers, as many.

    Returns:
        The slope in the log-log plane.
    """
    x, y = (torch.tensor(list(numbers), dtype=torch.float64).log() for numbers in (arguments, values))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())
