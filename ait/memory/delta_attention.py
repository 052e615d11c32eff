"""DeltaFormer: attention whose values are corrected by what is already stored (arXiv 2505.19488).

One causal head with keys k, queries q, values v, kernels kappa_1 between keys and kappa_2 from query to key:

    u_t = alpha_t v_t - beta_t sum_{i<t} kappa_1(k_t, k_i) u_i,    o_t = sum_{i<=t} kappa_2(q_t, k_i) u_i,

as matrices ``U = (I + diag(beta) A_1)^-1 diag(alpha) V`` with A_1 strictly lower triangular, and ``O = A_2 U``. With
beta = 0 it is attention; with linear kernels, keys of unit length and alpha = beta it is the delta rule.
"""

import torch
from torch import Tensor

from ait.memory.kernels import kernel


def delta_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    erase: Tensor | float = 1.0,
    write: Tensor | float = 1.0,
    key_kernel: str = "softmax",
    query_kernel: str = "softmax",
    degree: int = 2,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Tensor:
    """Attend causally to corrected values.

    Args:
        queries: Shape (..., T, d).
        keys: Shape (..., T, d).
        values: Shape (..., T, d_v).
        erase: Strength beta of the correction, a number or shape (..., T).
        write: Strength alpha of the write, a number or shape (..., T).
        key_kernel: kappa_1, one of ``kernels.KERNELS``; ``softmax`` is normalised over the strict past.
        query_kernel: kappa_2; ``softmax`` is normalised over the past and the present.
        degree: Of polynomial kernels.
        temperature: Of ``exp`` and ``softmax``.
        chunk: Steps to evaluate at once; memory then grows with T * chunk, not T^2. None: all.

    Returns:
        Outputs, shape (..., T, d_v).

    Raises:
        ValueError: If a kernel is unknown, or the chunk is not positive.
    """
    length = keys.shape[-2]
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}.")
    corrected, outputs = correct(keys, values, erase, write, key_kernel, degree, temperature, chunk), []
    time = torch.arange(length, device=keys.device)
    for start in range(0, length, chunk or max(length, 1)):
        stop = min(start + (chunk or length), length)
        seen = time[:stop] <= time[start:stop, None]
        weights = kernel(
            queries[..., start:stop, :], keys[..., :stop, :], query_kernel, degree, temperature, mask=seen
        )
        outputs.append(weights @ corrected[..., :stop, :])
    return torch.cat(outputs, dim=-2) if outputs else values


def correct(
    keys: Tensor,
    values: Tensor,
    erase: Tensor | float = 1.0,
    write: Tensor | float = 1.0,
    key_kernel: str = "softmax",
    degree: int = 2,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Tensor:
    """Correct values by what earlier keys hold: ``U = (I + diag(beta) A_1)^-1 diag(alpha) V``.

    Args:
        keys: Shape (..., T, d).
        values: Shape (..., T, d_v).
        erase: beta, a number or shape (..., T).
        write: alpha, a number or shape (..., T).
        key_kernel: kappa_1, one of ``kernels.KERNELS``.
        degree: Of the polynomial kernel.
        temperature: Of ``exp`` and ``softmax``.
        chunk: Steps to solve at once; None: all.

    Returns:
        U, shape (..., T, d_v).

    Raises:
        ValueError: If the kernel is unknown.
    """
    length = keys.shape[-2]
    strength = _column(erase, values)  # (..., T, 1)
    written = _column(write, values) * values
    time = torch.arange(length, device=keys.device)
    corrected: list[Tensor] = []
    for start in range(0, length, chunk or max(length, 1)):
        stop = min(start + (chunk or length), length)
        past = time[:stop] < time[start:stop, None]
        overlap = kernel(keys[..., start:stop, :], keys[..., :stop, :], key_kernel, degree, temperature, mask=past)
        overlap = strength[..., start:stop, :] * overlap
        target = written[..., start:stop, :]
        if start:
            # What earlier chunks hold is known: it moves to the right-hand side.
            target = target - overlap[..., :start] @ torch.cat(corrected, dim=-2)
        corrected.append(torch.linalg.solve_triangular(overlap[..., start:], target, upper=False, unitriangular=True))
    return torch.cat(corrected, dim=-2) if corrected else written


def orderless_delta_attention(
    queries: Tensor, keys: Tensor, values: Tensor, erase: float = 0.5, temperature: float = 1.0
) -> Tensor:
    """Attend to corrected values of tokens that have no order, such as those of an image.

    ``U = (I + beta B)^-1 V`` with B the row-softmax of key similarities without the token itself (derived here): the
    rows of B sum to one, so that the matrix is invertible for beta < 1. ``O = softmax(q k^T / temperature) U``. A
    permutation of the tokens permutes the outputs.

    Args:
        queries: Shape (..., T, d).
        keys: Shape (..., T, d).
        values: Shape (..., T, d_v).
        erase: beta, in [0, 1).
        temperature: Of both softmax kernels.

    Returns:
        Outputs, shape (..., T, d_v).

    Raises:
        ValueError: If beta is out of range.
    """
    if not 0 <= erase < 1:
        raise ValueError(f"erase lies in [0, 1), got {erase}.")
    identity = torch.eye(keys.shape[-2], dtype=keys.dtype, device=keys.device)
    overlap = kernel(keys, keys, "softmax", temperature=temperature, mask=identity == 0)
    corrected = torch.linalg.solve(identity + erase * overlap, values)
    return kernel(queries, keys, "softmax", temperature=temperature) @ corrected


def _column(strength: Tensor | float, values: Tensor) -> Tensor:
    if not isinstance(strength, Tensor):
        return values.new_full((*values.shape[:-1], 1), strength)
    return strength.unsqueeze(-1).expand(*values.shape[:-1], 1)
