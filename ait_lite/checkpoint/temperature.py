"""The temperature of a checkpoint, which makes its confidence its accuracy."""

import math
from collections.abc import Mapping
from typing import Any

from ait_lite.checkpoint.errors import CheckpointError


def read_temperature(config: Mapping[str, Any]) -> float | None:
    """Read the temperature of a checkpoint: probabilities are ``softmax(logits / temperature)``.

    Args:
        config: What the checkpoint's ``config.json`` holds.

    Returns:
        A positive number; None if the checkpoint carries none.

    Raises:
        CheckpointError: What it carries is no positive number.
    """
    value = config.get("temperature")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CheckpointError(
            f"temperature in config.json is {value!r}, not a positive number; run `ait calibrate` on the checkpoint, "
            "or remove it"
        )
    return float(value)
