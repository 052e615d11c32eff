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
    """Within it, every process holds all weights, so that each may use the model as often as it likes.

    All processes enter together. Does nothing for a module that is not sharded.
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
    """Within it, gradients of a sharded module are added up where they are, and not yet exchanged."""
    assert isinstance(learner, FSDPModule)
    learner.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        learner.set_requires_gradient_sync(True)


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor; all processes ask for it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def spread_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, which every process has, in the way that `like` of the same shape is spread."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    # Without a source every process takes its part from its own copy.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def all_finite(module: nn.Module) -> bool:
    """Whether every parameter is finite; all processes ask together."""
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
