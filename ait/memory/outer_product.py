"""Matrix memories ``S`` (values x keys) that are read as ``o_t = S_t q_t`` (unified view of arXiv 2505.19488).

    rule           S_t
    hebbian        S + v k^T                         linear attention
    ewma           (1 - rate) S + rate v k^T
    decay          g S + v k^T
    delta          S + rate (v - S k) k^T            keys of unit length; rate at most 1
    gated_delta    g S + rate (v - g S k) k^T

All are ``S_t = g_t S_{t-1} + u_t k_t^T``. The recurrent form goes through the sequence; the parallel form computes all
outputs at once from products of keys and queries. Both give the same outputs.
"""

from typing import Final

import torch
from torch import Tensor

RULES: Final = ("hebbian", "ewma", "decay", "delta", "gated_delta")


def recurrent(
    queries: Tensor, keys: Tensor, values: Tensor, rule: str, rate: float = 1.0, retention: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Write and read a matrix memory, one step after the other.

    Args:
        queries: Shape (..., T, d).
        keys: Shape (..., T, d); of unit length for the delta rules.
        values: Shape (..., T, d_v).
        rule: One of ``RULES``.
        rate: Step of ``ewma``, ``delta`` and ``gated_delta``, in (0, 1].
        retention: Gate g of ``decay`` and ``gated_delta``, in (0, 1].

    Returns:
        Outputs ``S_t q_t``, shape (..., T, d_v), and the final memory, shape (..., d_v, d).

    Raises:
        ValueError: If the rule is unknown, or a parameter is out of range.
    """
    gate, step, erase = _coefficients(rule, rate, retention)
    memory = values.new_zeros((*values.shape[:-2], values.shape[-1], keys.shape[-1]))
    outputs = []
    for query, key, value in zip(queries.unbind(-2), keys.unbind(-2), values.unbind(-2), strict=True):
        memory = gate * memory
        held = memory @ key.unsqueeze(-1) if erase else 0.0  # (..., d_v, 1), what the key holds already
        memory = memory + step * (value.unsqueeze(-1) - held) @ key.unsqueeze(-2)
        outputs.append((memory @ query.unsqueeze(-1)).squeeze(-1))
    return torch.stack(outputs, dim=-2), memory


def parallel(
    queries: Tensor, keys: Tensor, values: Tensor, rule: str, rate: float = 1.0, retention: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Write and read a matrix memory over a whole sequence at once.

    With ``D_ti = g^(t-i)`` for i <= t: ``O = (D * Q K^T) U``, where ``U = rate V``, and for the delta rules
    ``U = (I + rate tril(D * K K^T, -1))^-1 rate V`` (a triangular solve; derived here by unrolling the recurrence).

    Args:
        queries: Shape (..., T, d).
        keys: Shape (..., T, d); of unit length for the delta rules.
        values: Shape (..., T, d_v).
        rule: One of ``RULES``.
        rate: Step of ``ewma``, ``delta`` and ``gated_delta``, in (0, 1].
        retention: Gate g of ``decay`` and ``gated_delta``, in (0, 1].

    Returns:
        As `recurrent`.

    Raises:
        ValueError: If the rule is unknown, or a parameter is out of range.
    """
    gate, step, erase = _coefficients(rule, rate, retention)
    time = torch.arange(keys.shape[-2], device=keys.device)
    age = (time[:, None] - time).clamp_min(0)
    decay = torch.full((), gate, dtype=values.dtype, device=values.device).pow(age).tril()  # (T, T)
    written = step * values
    if erase:
        overlap = step * (decay * (keys @ keys.mT)).tril(-1)
        written = torch.linalg.solve_triangular(overlap, written, upper=False, unitriangular=True)
    outputs = (decay * (queries @ keys.mT)) @ written
    memory = (decay[-1].unsqueeze(-1) * written).mT @ keys
    return outputs, memory


def softmax_cache(queries: Tensor, keys: Tensor, values: Tensor, temperature: float = 1.0) -> Tensor:
    """Read a cache that grows with every step: causal softmax attention.

    Args:
        queries: Shape (..., T, d).
        keys: Shape (..., T, d).
        values: Shape (..., T, d_v).
        temperature: Of the exponential kernel.

    Returns:
        Outputs, shape (..., T, d_v).
    """
    length = keys.shape[-2]
    causal = torch.ones(length, length, dtype=torch.bool, device=keys.device).tril()
    scores = (queries @ keys.mT / temperature).masked_fill(~causal, -torch.inf)
    return torch.softmax(scores, dim=-1) @ values


def _coefficients(rule: str, rate: float, retention: float) -> tuple[float, float, bool]:
    """Gate on the old memory, step of a write, and whether a write erases first."""
    if rule not in RULES:
        raise ValueError(f"Unknown rule {rule!r}; choose one of {', '.join(RULES)}.")
    if not (0 < rate <= 1 and 0 < retention <= 1):
        raise ValueError(f"rate and retention lie in (0, 1], got {rate=} and {retention=}.")
    if rule == "ewma":
        return 1 - rate, rate, False
    gate = retention if rule in ("decay", "gated_delta") else 1.0
    erase = rule in ("delta", "gated_delta")
    return gate, rate if erase else 1.0, erase
