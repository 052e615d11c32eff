"""Give an existing checkpoint what its service can use: a temperature, and exemplars.

A run gives both to its best model; this is for checkpoints from elsewhere.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from ait_lite.checkpoint import CONFIG, EXEMPLARS, WEIGHTS, atomic_folder, bundled_models, update_config
from training.data import Preprocessing, decode, open_evaluation, open_training
from training.data.sources.folder import Layout
from training.errors import CheckpointError
from training.evaluation.calibration import Calibration, calibrate
from training.evaluation.evaluate import answer_table, finite_logits, known_labels, refuse_multi_label
from training.evaluation.exemplars import Candidates, keep_exemplars
from training.evaluation.multi_label import MultiLabelResult, measure_multi_label
from training.storage.model_folder import load_model


def keep_temperature(folder: Path, calibration: Calibration) -> None:
    """Write a temperature into a checkpoint's ``config.json``, and under ``calibration`` where it comes from.

    Args:
        folder: The checkpoint's.
        calibration: What to write.

    Raises:
        CheckpointError: There is no such file, or it is torn.
        OSError: It cannot be written.
    """
    told = asdict(calibration)
    update_config(folder, {"temperature": told.pop("temperature"), "calibration": told})


def calibrate_checkpoint(
    checkpoint: str | Path,
    data_root: str | Path,
    *,
    source: str = "folder",
    layout: Layout = "auto",
    only: str | Path | None = None,
    output: Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> Calibration:
    """Fit a temperature to images that the model was not trained on, and write it into the checkpoint.

    Args:
        checkpoint: timm ``local-dir`` folder.
        data_root: Class folders, or a folder with ``val/`` or ``test/`` in it, which is then used; or what
            `source` asks for.
        source: What `data_root` holds, as a recipe's ``data.source`` says.
        layout: As a recipe's ``data.layout``.
        only: A text file of image names to use, one per line, such as a run's ``validation.txt``; None uses all.
        output: A new folder for a copy of the checkpoint with what is found; None writes into the checkpoint.
        device: Where to compute; None takes an accelerator where there is one.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Returns:
        What was written.

    Raises:
        CheckpointError: The folder is no checkpoint, its weights are torn, or its answers are not finite; or it
            must not be written to.
        DataError: The data cannot be used, or holds classes the model does not know.
        OSError: The folder cannot be written to.
    """
    check_target(Path(checkpoint), output)
    model = load_model(Path(checkpoint))
    refuse_multi_label(checkpoint)
    samples = open_evaluation(source, data_root, only, layout)
    labels = known_labels(samples, model)
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)
    place = _device(device)
    logits = finite_logits(model.to(place), images, preprocessing, place, samples.names, checkpoint)
    calibration = calibrate(logits, labels)
    with _opened(Path(checkpoint), output) as folder:
        keep_temperature(folder, calibration)
    return calibration


def fit_thresholds(
    checkpoint: str | Path,
    table: str | Path,
    *,
    only: str | Path | None = None,
    output: Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> MultiLabelResult:
    """Fit a threshold for each class of a checkpoint whose classes do not exclude each other, and write them into it.

    Args:
        checkpoint: A run's ``best``, trained with ``data.multi_label=true``.
        table: As for `training.evaluation.evaluate.evaluate_multi_label`; of images not used for training.
        only: As for `calibrate_checkpoint`, as are the rest.
        output: A new folder for a copy of the checkpoint; None writes into the checkpoint.
        device: Where to compute.
        cache: Folder of decoded images.
        console: Where progress is shown.

    Returns:
        The figures at the new thresholds, on the same images.

    Raises:
        CheckpointError: The folder is no such checkpoint, or it must not be written to.
        DataError: The table cannot be used, or holds classes the model does not know.
        OSError: The folder cannot be written to.
    """
    check_target(Path(checkpoint), output)
    answers = answer_table(checkpoint, table, only=only, device=device, cache=cache, console=console)
    result = measure_multi_label(answers.logits, answers.targets, answers.classes)
    with _opened(Path(checkpoint), output) as folder:
        update_config(folder, {"thresholds": result.thresholds})
    return result


def add_exemplars(
    checkpoint: str | Path,
    data_root: str | Path,
    *,
    source: str = "folder",
    layout: Layout = "auto",
    exclude: str | Path | None = None,
    count: int = 32,
    seed: int = 0,
    output: Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> int:
    """Write the exemplar file of a checkpoint from the images that it was trained on.

    Args:
        checkpoint: timm ``local-dir`` folder.
        data_root: Class folders, or a folder with ``train/`` in it, which is then used; or what `source` asks for.
        source: What `data_root` holds, as a recipe's ``data.source`` says.
        layout: As a recipe's ``data.layout``.
        exclude: A text file of image names to leave out, one per line, such as a run's ``validation.txt``.
        count: Images per class.
        seed: Which are chosen.
        output: A new folder for a copy of the checkpoint with what is found; None writes into the checkpoint.
        device: Where to compute; None takes an accelerator where there is one.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Returns:
        Images kept; 0, and no file, if there are so many classes that one image of each would be too many.

    Raises:
        CheckpointError: The folder is no checkpoint, its weights are torn, or it must not be written to.
        DataError: The data cannot be used, or holds classes the model does not know.
        OSError: The folder cannot be written to.
    """
    check_target(Path(checkpoint), output)
    model = load_model(Path(checkpoint))
    refuse_multi_label(checkpoint)
    samples = open_training(source, data_root, exclude, layout)
    labels = known_labels(samples, model)
    preprocessing = Preprocessing.of_model(model)
    place = _device(device)

    def take(positions: Tensor) -> Tensor:
        return decode(samples.select(positions.tolist()), preprocessing, cache=cache, console=console)[1]

    candidates = Candidates(take, labels, samples.names)
    with _opened(Path(checkpoint), output) as folder:
        return keep_exemplars(folder, model.to(place), candidates, preprocessing, place, count, seed)


def check_target(checkpoint: Path, output: Path | None) -> None:
    """Refuse to write where nothing of the user's is, before anything is computed.

    Raises:
        CheckpointError: The checkpoint came with the package and there is no `output`; or that is not a new folder.
    """
    bundled = checkpoint.resolve() in {path.resolve() for path in bundled_models().values()}
    if output is None and bundled:
        raise CheckpointError(
            f"{checkpoint.name} came with the package and is not written to: pass --output FOLDER for a copy of it"
        )
    if output is not None and (output.is_file() or (output.is_dir() and any(output.iterdir()))):
        raise CheckpointError(f"--output {output} is not an empty folder: remove it or choose another")


@contextmanager
def _opened(checkpoint: Path, output: Path | None) -> Iterator[Path]:
    """Yield the folder to write into; a copy becomes visible as a whole, at the end."""
    if output is None:
        yield checkpoint
        return
    with atomic_folder(output) as folder:
        # Not what was made from the weights for serving, which has the old temperature in it.
        for name in (CONFIG, WEIGHTS, EXEMPLARS):
            if (checkpoint / name).is_file():
                shutil.copyfile(checkpoint / name, folder / name)
        yield folder


def _device(device: torch.device | str | None) -> torch.device:
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
