"""Begin a memory with what a model's associative head knows: its priors become the first examples.

The head answers by the mean of ``exp(beta q p)`` over a class's priors p. So does the readout ``associative`` of a
memory whose keys are the priors: it answers as the head does, and what is taught later stands beside them.
"""

from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError, safe_open

from ait_lite.checkpoint import HEAD, WEIGHTS, CheckpointError, label_names, read_config
from ait_lite.class_memory.memory import ClassMemory

_PRIOR: Final = "prior:"
PRIORS: Final = "head.weight"
LOG_BETA: Final = "head.log_beta"


def memory_of_head(folder: Path) -> ClassMemory:
    """Make a memory that answers as the associative head of a checkpoint.

    Its examples are the priors, ``prior:CLASS:NUMBER`` by class index; a class that holds nothing has none. Priors are
    no images, so that nobody can say how far an image of a class lies from them: nothing is called unknown.

    Args:
        folder: Of a checkpoint, or of a prepared model that was made from one.

    Raises:
        CheckpointError: The head is not associative, or cannot be read.
    """
    config = read_config(folder)
    weights, beta = _read(folder)
    count = config.get("num_classes")
    if not isinstance(count, int) or weights.ndim != 2 or count < 1 or len(weights) % count or not np.isfinite(beta):
        raise CheckpointError(f"The head of {folder} does not fit its configuration. Export the model again.")
    labels = label_names(config, count)
    priors = len(weights) // count  # a class
    held = [row for row in range(len(weights)) if weights[row].any()]
    memory = ClassMemory(weights.shape[1], readout="associative", beta=beta, unknown_level=0.0)
    memory.write(
        [f"{_PRIOR}{row // priors}:{row % priors}" for row in held],
        weights[held],
        [labels[row // priors] for row in held],
    )
    return memory


def is_prior(identifier: str) -> bool:
    """Tell by its identifier whether an example is a prior that a memory has begun with."""
    return identifier.startswith(_PRIOR)


def _read(folder: Path) -> tuple[np.ndarray, float]:
    """Read the priors (C * K, F), class by class, and the inverse temperature."""
    path = next((folder / name for name in (WEIGHTS, HEAD) if (folder / name).is_file()), None)
    try:
        if path is not None:
            with safe_open(path, "numpy") as tensors:
                if {PRIORS, LOG_BETA} <= set(tensors.keys()):
                    weights = np.asarray(tensors.get_tensor(PRIORS), dtype=np.float64)
                    return weights, float(np.exp(tensors.get_tensor(LOG_BETA)))
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Export the model again.") from error
    if path is None:
        raise CheckpointError(
            f"{folder} holds no priors of a head: its head is not associative, or it was prepared before priors were "
            "kept. Export the checkpoint again with `ait export CHECKPOINT FOLDER --format serving`, or begin with "
            "nothing."
        )
    raise CheckpointError(
        f"Model {folder.name} has no associative head whose memory could be the start. Begin with nothing, or train a "
        "model with `head: associative`."
    )
