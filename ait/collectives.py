"""Sums over data-parallel processes that gradients pass through.

Tokens of the global batch compete for the memory, so the write needs a few small sums over all processes.
Without an initialised process group everything here is the identity.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of data-parallel processes; 1 without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


class _AllReduceSum(torch.autograd.Function):
    """Sum over processes. Its gradient is again a sum: each process's input enters every process's loss."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor of any shape over all processes, differentiably; shape and dtype stay."""
    if world_size() == 1:
        return tensor
    return _AllReduceSum.apply(tensor)


def broadcast_first(tensor: Tensor) -> None:
    """Give all processes, in place, the values of the first."""
    if world_size() > 1:
        dist.broadcast(tensor, 0)


def all_gather_last(tensor: Tensor) -> Tensor:
    """Join tensors (..., K) of all processes along the last dimension, in rank order: (..., R * K). No gradient."""
    if world_size() == 1:
        return tensor.detach()
    gathered = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(gathered, tensor.detach().contiguous())
    return torch.cat(gathered, dim=-1)


def all_gather_rows(tensor: Tensor) -> Tensor:
    """Join tensors (n, ...) of all processes, of which each may have another n, in rank order. No gradient."""
    if world_size() == 1:
        return tensor.detach()
    count = torch.zeros(world_size(), dtype=torch.int64, device=tensor.device)
    count[dist.get_rank()] = len(tensor)
    dist.all_reduce(count)
    padded = tensor.detach().new_zeros(int(count.max()), *tensor.shape[1:])
    padded[: len(tensor)] = tensor.detach()
    gathered = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(gathered, padded)
    return torch.cat([rows[: int(n)] for rows, n in zip(gathered, count, strict=True)])
