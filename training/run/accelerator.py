"""The processes of a run, its device and its number format, all accelerate's."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized

from ait.allocator import keep_freed_memory
from training.recipe.keys import Recipe


def create_accelerator(recipe: Recipe) -> Accelerator:
    """Join the processes of a torchrun, if there is one, on the recipe's device and in its precision."""
    # accelerate keeps one state a process; a second run with another precision or device needs a new one.
    if is_initialized():
        AcceleratorState._reset_state(reset_partial_state=not PartialState().use_distributed)
    # Told of the CPU explicitly, for without it accelerate does not join the processes of a CPU-only torchrun.
    cpu = recipe.device == "cpu" or not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=cpu, mixed_precision="no" if recipe.precision == "fp32" else recipe.precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return accelerator
