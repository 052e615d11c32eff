"""Measure how good a checkpoint is on a folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor, nn

from ait_lite.checkpoint import named_labels, read_config, read_temperature
from ait_lite.wording import counted
from training.data import LabelledImages, Preprocessing, decode, open_evaluation
from training.data.sources.folder import Layout
from training.errors import CheckpointError, DataError
from training.evaluation.memory_health import memory_columns, memory_sample
from training.evaluation.metrics import EvaluationResult, measure
from training.evaluation.multi_label import MultiLabelResult, measure_multi_label
from training.evaluation.report import draw_confusion, draw_reliability, write_report
from training.evaluation.report.multi_label import write_multi_label_report
from training.evaluation.report.run import read_run
from training.evaluation.scoring import predict_all
from training.storage.model_folder import load_model


def evaluate(
    checkpoint: str | Path,
    data_root: str | Path | None,
    *,
    source: str = "folder",
    layout: Layout = "auto",
    only: str | Path | None = None,
    flip: bool = False,
    confusion_png: Path | None = None,
    reliability_png: Path | None = None,
    report: Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> EvaluationResult:
    """Score a checkpoint on every image of a folder.

    Decoding, normalisation and batches are those of the validation in training, so a checkpoint that the
    trainer reported an accuracy for gets the same here.

    Args:
        checkpoint: timm ``local-dir`` folder, such as a run's ``best``.
        data_root: Class folders, or a folder with ``val/`` or ``test/`` in it, which is then used; or what
            `source` asks for.
        source: What `data_root` holds, as a recipe's ``data.source`` says.
        layout: As a recipe's ``data.layout``.
        only: A text file of image names (of files, paths relative to the folder of classes), one per line, such
            as a run's ``validation.txt`` where images were held out of the training images.
        flip: Answer with the mean of the probabilities of each image and its mirror image.
        confusion_png: Where to draw the confusion matrix; None draws none.
        reliability_png: Where to draw accuracy against confidence; None draws none.
        report: Folder for a report on these images, with the curves of the checkpoint's run where they lie beside
            it; None writes none.
        device: Where to compute; None takes an accelerator where there is one.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Raises:
        CheckpointError: The folder is no checkpoint, its weights are torn, or its answers are not finite.
        DataError: The data folder cannot be used, or holds classes the model does not know.
    """
    model = load_model(Path(checkpoint))
    refuse_multi_label(checkpoint)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.to(place)
    samples = open_evaluation(source, data_root, only, layout)
    labels = known_labels(samples, model)
    classes = _classes(model) or samples.classes
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)

    logits = finite_logits(model, images, preprocessing, place, samples.names, checkpoint, flip=flip)
    # Fitted to single answers, it says nothing of the mean of two.
    temperature = None if flip else _temperature(checkpoint)
    result = measure(logits, labels, classes, temperature)
    if confusion_png is not None:
        draw_confusion(
            result.confusion, classes, confusion_png, title=f"{result.top1:.2%} of {counted(result.images, 'image')}"
        )
    if reliability_png is not None:
        draw_reliability(result.reliability, reliability_png, title=f"calibration error {result.ece:.2%}")
    if report is not None:
        chosen = memory_sample(len(images))
        sample = preprocessing.normalise(images[chosen].to(place))
        run = read_run(Path(checkpoint).resolve())
        write_report(
            report,
            result,
            logits,
            labels,
            images,
            title=f"{_architecture(model)} on {data_root}",
            files=samples.names,
            history=run.history,
            best_epoch=run.best_epoch,
            memory=memory_columns(model, sample, labels[chosen].to(place)),
            settings={"evaluation": {"checkpoint": str(checkpoint), "data": str(data_root), "flip": flip}}
            | run.settings,
            chosen_by=set(samples.names) == run.validation,
        )
    return result


def evaluate_multi_label(
    checkpoint: str | Path,
    table: str | Path,
    *,
    only: str | Path | None = None,
    report: Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> MultiLabelResult:
    """Score a checkpoint whose classes do not exclude each other on every image of a table.

    Args:
        checkpoint: A run's ``best``, trained with ``data.multi_label=true``.
        table: As the recipe's ``data.root``; where it has splits, the validation or test images are used.
        only: As for `evaluate`.
        report: Folder for a report on these images; None writes none.
        device: As for `evaluate`, as are the rest.
        cache: Folder of decoded images.
        console: Where progress is shown.

    Raises:
        CheckpointError: The folder is no such checkpoint, its weights are torn, or its answers are not finite.
        DataError: The table cannot be used, or holds classes the model does not know.
    """
    answers = answer_table(checkpoint, table, only=only, device=device, cache=cache, console=console)
    thresholds = read_config(Path(checkpoint)).get("thresholds")
    result = measure_multi_label(answers.logits, answers.targets, answers.classes, thresholds)
    if report is not None:
        run = read_run(Path(checkpoint).resolve())
        write_multi_label_report(
            report,
            result,
            title=f"{answers.architecture} on {table}",
            history=run.history,
            settings={"evaluation": {"checkpoint": str(checkpoint), "data": str(table)}} | run.settings,
            chosen_by=set(answers.names) == run.validation,
        )
    return result


class TableAnswers(NamedTuple):
    """What a checkpoint whose classes do not exclude each other says of the images of a table.

    Attributes:
        logits: (N, classes) float32, on the CPU.
        targets: (N, classes), 1 for each class that an image has.
        classes: Names by label.
        names: Of the images.
        architecture: Of the model.
    """

    logits: Tensor
    targets: Tensor
    classes: tuple[str, ...]
    names: Sequence[str]
    architecture: str


def answer_table(
    checkpoint: str | Path,
    table: str | Path,
    *,
    only: str | Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> TableAnswers:
    """Compute what a checkpoint says of the images of a table; arguments and errors as for `evaluate_multi_label`."""
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = load_model(Path(checkpoint)).to(place)
    if not read_config(Path(checkpoint)).get("multi_label"):
        raise CheckpointError(f"the classes of {checkpoint} exclude each other: evaluate it on one class an image")
    samples = open_evaluation("table", table, only, multi_label=True)
    classes = _classes(model)
    targets = known_targets(samples, model, str(checkpoint))
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)
    logits = finite_logits(model, images, preprocessing, place, samples.names, checkpoint)
    return TableAnswers(logits, targets, classes, samples.names, _architecture(model))


def known_targets(samples: LabelledImages, model: nn.Module, name: str = "the model") -> Tensor:
    """Map the classes that images have to those of a model, by name; errors call it `name`.

    Returns:
        (N, classes of the model), 1 for each that an image has.

    Raises:
        DataError: An image has a class that the model does not know.
    """
    classes = _classes(model)
    assert samples.targets is not None  # of a table that was opened for several
    targets = torch.zeros(len(samples), len(classes))
    targets[:, _columns(samples, classes, name)] = samples.targets
    return targets


def refuse_multi_label(checkpoint: str | Path) -> None:
    """Refuse a checkpoint whose classes do not exclude each other, where each image must have one.

    Raises:
        CheckpointError: It is one; or it has no readable configuration.
    """
    if read_config(Path(checkpoint)).get("multi_label"):
        raise CheckpointError(
            f"{checkpoint} tells any number of classes an image, and this takes models that tell one; `ait evaluate` "
            "scores it on a table"
        )


def finite_logits(
    model: nn.Module,
    images: Tensor,
    preprocessing: Preprocessing,
    device: torch.device,
    names: Sequence[str],
    checkpoint: str | Path,
    flip: bool = False,
) -> Tensor:
    """Compute a checkpoint's logits of all images, and refuse them if they are not finite.

    Args:
        model: The checkpoint's model, on `device`.
        images: (N, C, H, W) uint8.
        preprocessing: How to normalise.
        device: Where to compute.
        names: The images'.
        checkpoint: Its folder, for the message.
        flip: As for `training.evaluation.scoring.predict`.

    Returns:
        (N, classes) float32 on the CPU.

    Raises:
        CheckpointError: They are not finite.
    """
    logits = predict_all(model, images, preprocessing, device, flip=flip)
    if not logits.isfinite().all():
        first = int((~logits.isfinite()).any(dim=1).nonzero()[0])
        raise CheckpointError(f"the model in {checkpoint} answers {names[first]} with logits that are not finite")
    return logits


def known_labels(samples: LabelledImages, model: nn.Module, name: str = "the model") -> Tensor:
    """Look up the labels by which a model knows the images' classes.

    Args:
        samples: Whose classes have names, and labels of their own.
        model: Its configuration names its classes, or has as many.
        name: What errors call it.

    Returns:
        (N,) int64.

    Raises:
        DataError: The images' classes are not the model's.
    """
    classes, num_classes = _classes(model), int(getattr(model, "num_classes", 0))
    if not classes:
        if len(samples.classes) != num_classes:
            raise DataError(
                f"{samples.origin} holds {len(samples.classes)} classes, {name} knows {num_classes} "
                "and the checkpoint does not name them"
            )
        return samples.labels
    return _columns(samples, classes, name)[samples.labels]


def _columns(samples: LabelledImages, classes: Sequence[str], name: str) -> Tensor:
    """Look up the model's label of each of the images' classes, (classes,) int64."""
    unknown = sorted(set(samples.classes) - set(classes))
    if unknown:
        raise DataError(f"{samples.origin} holds classes {name} does not know: {', '.join(unknown[:5])}")
    return torch.tensor([classes.index(name) for name in samples.classes], dtype=torch.int64)


def _classes(model: nn.Module) -> tuple[str, ...]:
    return named_labels(getattr(model, "pretrained_cfg", None) or {})


def _temperature(checkpoint: str | Path) -> float | None:
    try:
        return read_temperature(read_config(Path(checkpoint)))
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {checkpoint}: {error}") from error


def _architecture(model: nn.Module) -> str:
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    return str(config.get("architecture") or type(model).__name__)
