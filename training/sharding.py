"""Weights, gradients and optimiser state spread over the processes of a run, for models that no single one holds.

Torch's fully sharded data parallelism (``fully_shard``, FSDP2): each process keeps a part of every tensor, and a
block's weights are whole only while it computes. accelerate offers it on accelerators alone; called directly it works
on processors too.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(learner: nn.Module) -> None:
    """Spread a module's parameters over all processes, in place; do it before the optimiser is made.

    Repeated blocks (of one class, in one list) are gathered one at a time when they compute; the rest is one unit.
    Parameters become ``DTensor``, buffers stay whole.

    Args:
        learner: Called through ``forward``; blocks are called through ``forward`` or ``forward_training``.
    """
    for unit in reversed(list(_repeated_blocks(learner))):
        fully_shard(unit)
        if hasattr(unit, "forward_training"):
            register_fsdp_forward_method(unit, "forward_training")
    fully_shard(learner)


@contextmanager
def whole(learner: nn.Module) -> Iterator[None]:
    """Gather all weights on every process for the duration of the context.

    Each may then use the model as often as it likes. All processes enter together. A module that is not sharded is
    left as it is.
    """
    units = [unit for unit in learner.modules() if isinstance(unit, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
            # Torch's own default: the outermost unit is needed first in the backward pass, so it stays.
            unit.set_reshard_after_forward(unit is not learner, recurse=False)


@contextmanager
def gradients_stay(learner: nn.Module) -> Iterator[None]:
    """Add up the gradients of a sharded module where they are, without exchanging them, within the context."""
    assert isinstance(learner, FSDPModule)
    learner.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        learner.set_requires_gradient_sync(True)


def full(tensor: Tensor) -> Tensor:
    """Gather the whole of a tensor; all processes call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def spread_like(value: Tensor, like: Tensor) -> Tensor:
    """Spread a whole tensor, which every process has, in the way that another is spread.

    Args:
        value: The same on every process.
        like: Spread over the processes, or whole; where its shape is another, `value` stays as it is.
    """
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    # Without a source every process takes its part from its own copy.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def all_finite(module: nn.Module) -> bool:
    """Return True if every parameter is finite; all processes call this together."""
    return all(bool(full(parameter.detach().isfinite().all())) for parameter in module.parameters())


def _repeated_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Members of lists that hold several of their class and consist of modules themselves, outermost first."""
    for parent in module.modules():
        if not isinstance(parent, nn.Sequential | nn.ModuleList):
            continue
        counts = Counter(type(member) for member in parent)
        for member in parent:
            composite = any(True for _ in member.children()) and any(True for _ in member.parameters())
            if counts[type(member)] > 1 and composite:
                yield member
