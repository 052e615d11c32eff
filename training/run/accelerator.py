"""The processes of a run, its device and its number format, all accelerate's."""

from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized

from ait_lite.allocator import keep_freed_memory


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
