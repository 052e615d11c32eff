"""The processes of a run, its device and its number format, all accelerate's."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized
from accelerate.utils import broadcast_object_list
from torch import Tensor

from ait_lite.allocator import keep_freed_memory

# What torch calls "medium" takes oneDNN on a CPU, in float32 unless the processor multiplies bfloat16 matrices.
_ONEDNN = "medium"
_ROWS, _INNER, _COLUMNS = 512, 768, 768
_ROUNDS = 7
_WORTHWHILE = 1.2  # times as fast; less may be chance


def create_accelerator(device: Literal["auto", "cpu"], precision: Literal["fp32", "bf16", "fp16"]) -> Accelerator:
    """Join the processes of a torchrun, if there is one.

    Args:
        device: ``auto`` takes an accelerator where there is one.
        precision: Number format of training.
    """
    # accelerate keeps one state a process; a second run with another precision or device needs a new one.
    if is_initialized():
        AcceleratorState._reset_state(reset_partial_state=not PartialState().use_distributed)
    # Told of the CPU explicitly, for without it accelerate does not join the processes of a CPU-only torchrun.
    cpu = device == "cpu" or not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=cpu, mixed_precision="no" if precision == "fp32" else precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return accelerator


@contextmanager
def fastest_products(accelerator: Accelerator, taken: str = "") -> Iterator[None]:
    """Multiply float32 matrices on a CPU in oneDNN where that is faster than torch's default and as exact.

    On AMD processors the default, MKL, may run at half the speed of oneDNN. What the caller has set stays.

    Args:
        accelerator: Whose device counts.
        taken: What torch was set to when the run began, which is taken again: the two libraries differ in rounding,
            and the run may go on with another processor. Empty for a run that begins.
    """
    before = torch.get_float32_matmul_precision()
    if accelerator.device.type != "cpu" or before != "highest":
        yield
        return
    # One process decides: others might find otherwise, and all are to compute alike.
    chosen = taken or broadcast_object_list([_ONEDNN if _prefers_onednn() else before])[0]
    try:
        torch.set_float32_matmul_precision(chosen)
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _prefers_onednn() -> bool:
    """Compare the two on one thread: several wait for each other, and longer where other programs run."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(_ROWS, _INNER, generator=generator)
    right = torch.randn(_INNER, _COLUMNS, generator=generator)
    exact = left.double() @ right.double()
    errors, seconds = {}, {"highest": float("inf"), _ONEDNN: float("inf")}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for _ in range(_ROUNDS):  # in turns: a clock rate that changes is that of both
            for precision, fastest in seconds.items():
                torch.set_float32_matmul_precision(precision)
                began = time.process_time()  # of the processor: what else runs must not decide
                product = left @ right
                seconds[precision] = min(fastest, time.process_time() - began)
                errors[precision] = _largest_difference(product, exact)
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(threads)
    return errors[_ONEDNN] <= 2 * errors["highest"] and seconds["highest"] > _WORTHWHILE * seconds[_ONEDNN]


def _largest_difference(product: Tensor, exact: Tensor) -> float:
    return float((product - exact).abs().max())
