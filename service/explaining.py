"""What a model saw in one picture. Runs in the process that holds the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


@torch.inference_mode()
def explain(model: nn.Module, pixels: Tensor, class_index: int | None) -> dict[str, Any]:
    """Explains the answer to one picture.

    Args:
        model: the loaded classifier, in evaluation mode.
        pixels: normalised picture (1, C, H, W), on the model's device.
        class_index: the class to explain; None is the most probable one.

    Returns:
        Named results: numpy arrays, and what JSON can say.
    """
    logits = model(pixels)[0].float().cpu()
    return {"logits": logits.numpy(), "class_index": int(logits.argmax()) if class_index is None else class_index}
