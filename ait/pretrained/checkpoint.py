"""Build the model of a checkpoint folder, and say in a line what is wrong with one that is damaged."""

from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from torch import nn

from ait.pretrained.checks import check_loaded
from ait_lite.checkpoint import WEIGHTS, CheckpointError, read_config
from ait_lite.runtimes import refuse_prepared


def load_checkpoint(folder: Path, **kwargs: Any) -> nn.Module:
    """Build the model of a checkpoint folder with its weights, in evaluation mode.

    Args:
        folder: Of timm's kind ``local-dir``, such as the trainer writes.
        **kwargs: Further arguments of ``timm.create_model``.

    Raises:
        CheckpointError: It is a prepared model, which has no weights; it or a file of it is damaged; or its weights
            are of another model or not finite.
    """
    refuse_prepared(folder)
    read_config(folder)  # says what is wrong with it, or that there is none
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, **kwargs)
        check_loaded(model, own_head="num_classes" not in kwargs)
    except (
        AssertionError,
        AttributeError,
        KeyError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        # The first line: those after it hold whole lists of tensors.
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        if isinstance(error, SafetensorError):
            reason = f"{WEIGHTS} is damaged, copy it again: {reason}"
        raise CheckpointError(f"{folder}: cannot be loaded ({reason}).") from error
    return model.eval()
