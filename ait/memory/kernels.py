"""Kernels of associative memories, and the retrieval signal-to-noise ratio that each gives in closed form.

A memory ``S`` returns ``sum_i kappa(q, k_i) v_i`` for a query q. Retrieving key i gives ``c v_i + r``; over
values that are independent, of mean zero and equal length, the inverse signal-to-noise ratio is (arXiv 2505.19488)

    1 / SNR = E|r|^2 / E|c v_i|^2 = (N - 1) E kappa(k_i, k_j)^2 / E kappa(k_i, k_i)^2.

A normaliser that is one number a query, such as that of softmax, cancels. The closed forms below are derived here from
the moments of one coordinate of a point on the sphere, or of Gaussian vectors.
"""

import math
from typing import Final

import torch
from torch import Tensor

KERNELS: Final = ("linear", "relu", "round", "polynomial", "exp", "softmax")


def kernel(
    queries: Tensor, keys: Tensor, name: str, degree: int = 2, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Compare queries with keys.

    Args:
        queries: Shape (..., Q, d).
        keys: Shape (..., N, d).
        name: ``linear`` x.y; ``relu`` max(x.y, 0); ``round`` x.y to the nearest integer, which has no gradient;
            ``polynomial`` (x.y)^degree; ``exp`` exp(x.y / temperature); ``softmax``, which is ``exp`` with rows that
            sum to one.
        degree: Of ``polynomial``.
        temperature: Of ``exp`` and ``softmax``.
        mask: True where a query may see a key, shape (..., Q, N); entries elsewhere are zero. A row of ``softmax``
            that sees nothing is zero.

    Returns:
        Kernel values, shape (..., Q, N).

    Raises:
        ValueError: If the kernel is unknown, or a parameter is out of range.
    """
    _check(name, degree, temperature)
    products = queries @ keys.mT
    if name == "softmax":
        products = products / temperature
        if mask is None:
            return torch.softmax(products, dim=-1)
        weights = torch.softmax(products.masked_fill(~mask, -torch.inf), dim=-1)
        return weights.masked_fill(~mask, 0.0)  # also replaces the NaN of a row that sees nothing
    if name == "relu":
        products = products.relu()
    elif name == "round":
        products = products.round()
    elif name == "polynomial":
        products = products**degree
    elif name == "exp":
        products = (products / temperature).exp()
    return products if mask is None else products.masked_fill(~mask, 0.0)


def sphere_inverse_snr(name: str, dim: int, count: int, degree: int = 2, temperature: float = 1.0) -> float:
    """Compute 1/SNR for keys drawn uniformly from the unit sphere.

    With t a coordinate of a random unit vector, ``E t^2p = (2p - 1)!! / prod_{i<p} (d + 2i)`` and
    ``E exp(2t / temperature) = 0F1(; d/2; temperature^-2)``; ``round`` keeps t where ``t^2 > 1/4``, and ``t^2`` is
    distributed as Beta(1/2, (d - 1)/2).

    Args:
        name: One of ``KERNELS``.
        dim: Width d of a key.
        count: Number N of stored keys.
        degree: Of ``polynomial``.
        temperature: Of ``exp`` and ``softmax``.

    Returns:
        The inverse signal-to-noise ratio.

    Raises:
        ValueError: If the kernel is unknown, or a parameter is out of range.
    """
    _check(name, degree, temperature)
    if name in ("exp", "softmax"):
        return (count - 1) * math.exp(_log_hyp0f1(dim / 2, temperature**-2) - 2 / temperature)
    if name == "round":
        return (count - 1) * _share_beyond_half(dim)
    power = degree if name == "polynomial" else 1
    moment = math.prod((2 * i + 1) / (dim + 2 * i) for i in range(power))
    return (count - 1) * moment * (0.5 if name == "relu" else 1.0)


def gaussian_inverse_snr(name: str, dim: int, count: int, degree: int = 2) -> float:
    """Compute 1/SNR, the ratio of expectations, for keys with independent standard normal entries.

    ``E kappa(k_i, k_j)^2`` has ``E (x.y)^2p = (2p - 1)!! E|x|^2p``, and ``E kappa(k_i, k_i)^2 = E|x|^4p``, with
    ``E|x|^2m = prod_{i<m} (d + 2i)``. For the linear kernel this is ``(N - 1) / (d + 2)``. The ``exp`` kernel has no
    finite moment here.

    Args:
        name: ``linear``, ``relu`` or ``polynomial``.
        dim: Width d of a key.
        count: Number N of stored keys.
        degree: Of ``polynomial``.

    Returns:
        The inverse signal-to-noise ratio.

    Raises:
        ValueError: If the kernel is unknown or has no closed form, or the degree is out of range.
    """
    _check(name, degree, 1.0)
    if name in ("exp", "softmax", "round"):
        raise ValueError(f"There is no closed form for the {name} kernel of Gaussian keys.")
    power = degree if name == "polynomial" else 1
    # E|x|^2p / E|x|^4p leaves the upper half of the factors.
    moment = math.prod((2 * i + 1) / (dim + 2 * (power + i)) for i in range(power))
    return (count - 1) * moment * (0.5 if name == "relu" else 1.0)


def gaussian_mean_inverse_snr(dim: int, count: int, value_dim: int) -> float:
    """Compute the mean of ``|r|^2 / |c v|^2`` over queries, for the linear kernel and Gaussian keys and values.

    ``E 1/|k|^2 = 1 / (d - 2)``: the mean of ratios is larger than the ratio of means.

    Args:
        dim: Width d of a key, above 2.
        count: Number N of stored keys.
        value_dim: Width of a value, above 2.

    Returns:
        ``(N - 1) / (d - 2) * d_v / (d_v - 2)``.

    Raises:
        ValueError: If a width is 2 or less, where the mean is infinite.
    """
    if min(dim, value_dim) <= 2:
        raise ValueError(f"The mean ratio is infinite for widths up to 2, got {dim=} and {value_dim=}.")
    return (count - 1) / (dim - 2) * value_dim / (value_dim - 2)


def inverse_snr(values: Tensor, weights: Tensor, mean_of_ratios: bool = False) -> Tensor:
    """Measure 1/SNR of retrieving every stored key.

    Args:
        values: Stored values, shape (..., N, d_v).
        weights: Kernel values of every key with every key, shape (..., N, N).
        mean_of_ratios: Average ``|r|^2 / |c v|^2`` over keys, in place of the ratio of the averages.

    Returns:
        Inverse signal-to-noise ratios, shape (...).
    """
    signal = weights.diagonal(dim1=-2, dim2=-1).unsqueeze(-1) * values
    noise = (weights @ values - signal).square().sum(-1)
    signal = signal.square().sum(-1)
    return (noise / signal).mean(-1) if mean_of_ratios else noise.mean(-1) / signal.mean(-1)


def _check(name: str, degree: int, temperature: float) -> None:
    if name not in KERNELS:
        raise ValueError(f"Unknown kernel {name!r}; choose one of {', '.join(KERNELS)}.")
    if degree < 1 or temperature <= 0:
        raise ValueError(f"Need degree >= 1 and temperature > 0, got {degree=} and {temperature=}.")


def _log_hyp0f1(parameter: float, argument: float) -> float:
    """Logarithm of 0F1(; b; z) = sum_k z^k / ((b)_k k!) for z >= 0: all terms are positive, none is lost."""
    log_term, log_sum, k = 0.0, 0.0, 0
    # Terms rise until k (b + k) exceeds z, then fall faster and faster.
    while k * (parameter + k) < argument or log_term > log_sum - 40:
        log_term += math.log(argument) - math.log(parameter + k) - math.log(k + 1)
        log_sum = max(log_sum, log_term) + math.log1p(math.exp(-abs(log_sum - log_term)))
        k += 1
    return log_sum


def _share_beyond_half(dim: int) -> float:
    """Probability that a coordinate of a random unit vector exceeds 1/2 in size: ``I_{3/4}((d - 1)/2, 1/2)``.

    The series of the regularised incomplete beta function has positive terms that shrink at least by 3/4.
    """
    if dim == 1:
        return 1.0
    a, b, x = (dim - 1) / 2, 0.5, 0.75
    front = a * math.log(x) + b * math.log(1 - x) + math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b)
    term, total, index = 1.0, 1.0, 0
    while term > 1e-17 * total:
        term *= (a + b + index) / (a + 1 + index) * x
        total += term
        index += 1
    return math.exp(front) * total
