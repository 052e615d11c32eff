"""Measure on labelled images what a checkpoint loses without its memory."""

from pathlib import Path

import torch
from rich.console import Console

from ait.interpret.causal import CausalReport, causal_report, interventions
from training.data import Preprocessing, decode, open_evaluation
from training.errors import CheckpointError
from training.evaluation.evaluate import known_labels
from training.storage.model_folder import load_model


def measure_effects(
    checkpoint: str | Path,
    data_root: str | Path,
    *,
    source: str = "folder",
    only: str | Path | None = None,
    limit: int | None = 2000,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> CausalReport:
    """Score a checkpoint with its memory taken away or disturbed.

    Args:
        checkpoint: timm ``local-dir`` folder of a model with a memory.
        data_root: Class folders, or a folder with ``val/`` or ``test/`` in it, which is then used; or what
            `source` asks for.
        source: What `data_root` holds, as a recipe's ``data.source`` says.
        only: A text file of image names to use, one per line; None uses all.
        limit: At most as many images, spread evenly over the classes; None takes all.
        device: Where to compute; None takes an accelerator where there is one.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Raises:
        CheckpointError: The folder is no checkpoint, or its model has no memory.
        DataError: The data cannot be used, or holds classes the model does not know.
    """
    model = load_model(Path(checkpoint))
    if not interventions(model):
        raise CheckpointError(f"{checkpoint}: {type(model).__name__} has no associative memory to take away")
    samples = open_evaluation(source, data_root, only)
    if limit is not None and len(samples.names) > limit:
        samples = samples.select(torch.linspace(0, len(samples.names) - 1, limit).long().tolist())
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    labels = known_labels(samples, model)
    return causal_report(model.to(place), preprocessing.normalise(images.to(place)), labels.to(place))
