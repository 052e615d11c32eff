"""What every export begins with: a float32 copy on the CPU, a traced program, and the facts that users need."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.data.model_config import resolve_input_data_config
from torch import Tensor, nn

from ait.associative_model import AssociativeModel
from ait.export.agreement import ExportError
from ait.export.sample_images import made_images
from ait_lite.checkpoint import named_labels


def metadata(model: nn.Module, probabilities: bool = False, temperature: float | None = None) -> dict[str, Any]:
    """Say what a user of an exported file has to know: labels, preprocessing, input, output and temperature."""
    data = resolve_input_data_config(model)
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    return {
        "architecture": str(config.get("architecture", type(model).__name__)),
        "input": "pixels",
        "output": "probabilities" if probabilities else "logits",
        "temperature": temperature,
        "label_names": list(named_labels(config)),
        "input_size": list(data["input_size"]),
        "mean": list(data["mean"]),
        "std": list(data["std"]),
        "interpolation": data["interpolation"],
        "crop_pct": data["crop_pct"],
        "crop_mode": data["crop_mode"],
    }


def prepare(
    model: nn.Module, images: Tensor | None, probabilities: bool, temperature: float | None = None
) -> tuple[nn.Module, Tensor]:
    """Copy a model to the CPU in float32, giving what was asked for, and take or make images for it.

    Raises:
        ExportError: The model writes its memory in evaluation, so that its answers depend on earlier inputs.
    """
    if isinstance(model, AssociativeModel) and any(block.workspace.adaptive for block in model.associative_blocks()):
        raise ExportError(
            "the model writes its memory in evaluation too (adaptive), so its answers depend on earlier inputs; "
            "create it with memory_args={'adaptive': False}."
        )
    eager = copy.deepcopy(model).cpu().float().eval()
    if images is None:
        images = made_images(eager)
    return (_Probabilities(eager, temperature or 1.0) if probabilities else eager), images.cpu().float()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to themselves what the exporters' libraries say of how they work."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def dynamic_batch() -> tuple[dict[int, Any]]:
    """Let the first axis of the one input have any size of at least 1."""
    return ({0: torch.export.Dim("batch", min=1)},)


def trace(eager: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """Trace a model for every batch size.

    Args:
        eager: The model, on the CPU.
        images: Normalised pixels, shape (N, C, H, W); the first is the example.

    Raises:
        ExportError: ``torch.export`` cannot follow the model.
    """
    example = images[:1].repeat(2, 1, 1, 1)  # of one image, torch.export would make a constant
    try:
        with torch.no_grad():
            return torch.export.export(eager, (example,), dynamic_shapes=dynamic_batch())
    except Exception as error:  # whatever the code of any model raises while it is traced
        reason = str(error).strip().partition("\n\n")[0]
        raise ExportError(f"torch.export cannot follow the model for every batch size: {reason}") from error


class _Probabilities(nn.Module):
    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        return (self.model(images) / self.temperature).softmax(dim=1)
