"""``ait evaluate``, ``ait calibrate`` and ``ait exemplars``: measure a checkpoint, and complete it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Checkpoint, Layout, LayoutOption, ServingPrecision, ServingRuntime
from ait_cli.measurement.readouts import MeasuredReadout, print_readouts
from ait_cli.output import check_output, fail
from ait_lite.checkpoint import CONFIG, EXEMPLARS, CheckpointError, read_config, resolve
from ait_lite.wording import counted

_Only = Annotated[
    Path | None, typer.Option(help="Text file that lists the images to use, such as a run's validation.txt.")
]

_HEADINGS = {
    "accuracy": "accuracy",
    "nll": "log loss",
    "same_label": "same label as torch fp32",
    "mean_average_precision": "mean average precision",
    "loss": "cross-entropy",
    "same_classes": "same classes as torch fp32",
}

_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Leave CHECKPOINT as it is, and write a new checkpoint folder; needed for bundled models.",
    ),
]


def evaluate(
    checkpoint: Checkpoint,
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with one folder of images per class, or with val/ or test/ in it; or what --source names."
        ),
    ] = None,
    source: Annotated[
        str, typer.Option(help="Kind of DATA, as a recipe's data.source; triangle needs no DATA.")
    ] = "folder",
    layout: LayoutOption = Layout.auto,
    only: _Only = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average the probabilities of each image and its mirror image.")
    ] = False,
    runtime: Annotated[
        list[ServingRuntime] | None,
        typer.Option(
            help="Compare accuracy in these runtimes of the server; repeatable; auto: all that are installed."
        ),
    ] = None,
    precision: Annotated[
        list[ServingPrecision] | None,
        typer.Option(help="With --runtime: number formats to compare; repeatable; auto: all; default: fp32."),
    ] = None,
    readout: Annotated[
        list[MeasuredReadout] | None,
        typer.Option(
            help="Teach a memory of classes the images in train/ and measure this readout beside the model's own "
            "head; repeatable."
        ),
    ] = None,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="With --readout: examples of a class at most; default: all.")
    ] = None,
    random_features: Annotated[
        int,
        typer.Option(
            min=0,
            max=16_384,
            help="With --readout: random ReLU features, which ridge uses if they lower its error; 0: none.",
        ),
    ] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Write a report into this folder: report.md and its plots.", metavar="FOLDER")
    ] = None,
    confusion: Annotated[Path | None, typer.Option(help="Write the confusion matrix to this PNG file.")] = None,
    reliability: Annotated[
        Path | None, typer.Option(help="Write a plot of accuracy against confidence to this PNG file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a checkpoint on labelled images.

    Prints accuracy and calibration, overall and for each class.
    """
    from rich.console import Console

    from training.errors import CheckpointError, DataError
    from training.evaluation.evaluate import evaluate as evaluate_checkpoint
    from training.evaluation.report.console import print_result

    check_output(report, folder=True)
    check_output(confusion, parents=True)
    check_output(reliability, parents=True)
    progress = Console(stderr=True)
    drawn = bool(flip or report or confusion or reliability)
    if readout or per_class is not None or random_features:
        unfit = drawn or bool(runtime or precision) or source != "folder"
        examples = per_class, random_features
        print_readouts(checkpoint, data, readout or [], layout, only, *examples, unfit=unfit, as_json=as_json)
        return
    if runtime or precision:
        formats = runtime, precision
        _compare_runtimes(checkpoint, data, source, layout, only, *formats, unfit=drawn, as_json=as_json)
        return
    if _tells_several_classes(checkpoint):
        unfit = (
            bool(flip or confusion or reliability) or source not in ("folder", "table") or layout is not Layout.auto
        )
        _evaluate_multi_label(checkpoint, data, only, report, unfit=unfit, as_json=as_json)
        return
    try:
        result = evaluate_checkpoint(
            resolve(checkpoint),
            data,
            source=source,
            layout=layout.value,
            only=only,
            flip=flip,
            confusion_png=confusion,
            reliability_png=reliability,
            report=report,
            console=progress,
        )
    except (CheckpointError, DataError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; choose another file or folder.")
    if as_json:
        asked = {"checkpoint": checkpoint, "data": str(data), "flip": flip}
        typer.echo(json.dumps(asked | result.to_json(), indent=2))
    else:
        print_result(result, Console())
    if result.checkpoint_temperature is None and not flip:
        progress.print("the checkpoint is not calibrated; `ait calibrate` fits a temperature", highlight=False)
    for path in (report and report / "report.md", confusion, reliability):
        if path is not None:
            progress.print(f"written: {path}", soft_wrap=True, highlight=False)


def _tells_several_classes(checkpoint: str) -> bool:
    """Return True for the checkpoint of a model whose classes do not exclude each other."""
    try:
        return bool(read_config(resolve(checkpoint)).get("multi_label"))
    except CheckpointError:  # told, with the reason, where it is loaded
        return False


def _evaluate_multi_label(
    checkpoint: str, table: Path | None, only: Path | None, report: Path | None, *, unfit: bool, as_json: bool
) -> None:
    from rich.console import Console

    from training.errors import CheckpointError, DataError
    from training.evaluation.evaluate import evaluate_multi_label
    from training.evaluation.report.multi_label import print_multi_label

    if unfit:
        options = "--flip, --confusion, --reliability, --source and --layout"
        fail(f"{options} are for models with exactly one class per image.")
    if table is None:
        fail("name DATA, the table of images and their classes.")
    try:
        result = evaluate_multi_label(
            resolve(checkpoint), table, only=only, report=report, console=Console(stderr=True)
        )
    except (CheckpointError, DataError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; choose another file or folder.")
    if as_json:
        typer.echo(json.dumps({"checkpoint": checkpoint, "data": str(table)} | result.to_json(), indent=2))
    else:
        print_multi_label(result, Console())


def _compare_runtimes(
    checkpoint: str,
    data: Path | None,
    source: str,
    layout: Layout,
    only: Path | None,
    runtimes: list[ServingRuntime] | None,
    precisions: list[ServingPrecision] | None,
    *,
    unfit: bool,
    as_json: bool,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from ait_lite.runtimes import GRAPH_RUNTIMES, PRECISIONS
    from training.errors import CheckpointError, DataError
    from training.evaluation.comparison.runtimes import compare_runtimes

    if unfit:
        fail("--runtime and --precision compare accuracy; leave out --flip, --report, --confusion, --reliability.")
    asked, sizes = (
        [each.value for each in runtimes or [ServingRuntime.auto]],
        [each.value for each in precisions or [ServingPrecision.fp32]],
    )
    try:
        results = compare_runtimes(
            resolve(checkpoint),
            data,
            runtimes=("torch", *GRAPH_RUNTIMES) if "auto" in asked else asked,
            precisions=PRECISIONS if "auto" in sizes else sizes,
            source=source,
            layout=layout.value,
            only=only,
            console=Console(stderr=True),
        )
    except (CheckpointError, DataError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; choose another file or folder.")
    if as_json:
        typer.echo(json.dumps({"checkpoint": checkpoint, "runtimes": [each.to_json() for each in results]}, indent=2))
        return
    table = Table(title=f"{checkpoint} on {data}")
    for column in ("runtime", "precision", *(_HEADINGS[name] for name in results[0].figures)):
        table.add_column(column, justify="left" if column == "runtime" else "right")
    for each in results:
        told = [each.reason, "", ""] if each.reason else [
            f"{value:.4f}" if name in ("nll", "loss") else f"{value:.2%}" for name, value in each.figures.items()
        ]  # fmt: skip
        table.add_row(each.runtime, each.precision, *told)
    Console().print(table)


def calibrate(
    checkpoint: Checkpoint,
    data: Annotated[
        Path,
        typer.Argument(
            help="Images not used for training: one folder per class, or a folder with val/ or test/ in it; a table "
            "for a model that tells any number of classes an image."
        ),
    ],
    layout: LayoutOption = Layout.auto,
    only: _Only = None,
    output: _Output = None,
) -> None:
    """Make a checkpoint's confidence match its accuracy.

    Fits a temperature to the images and writes it into the checkpoint: of the answers given with 80 % confidence,
    about 80 % are then right. Accuracy does not change. A model that tells any number of classes an image gets the
    threshold of each class with the highest F1 instead. A training run does this for its best model.
    """
    from rich.console import Console

    from training.errors import CheckpointError, DataError
    from training.evaluation.annotate import calibrate_checkpoint

    folder = output or resolve(checkpoint)
    if _tells_several_classes(checkpoint):
        _fit_thresholds(checkpoint, data, only, output)
        typer.echo(f"written: {folder / CONFIG}")
        return
    try:
        found = calibrate_checkpoint(
            resolve(checkpoint), data, layout=layout.value, only=only, output=output, console=Console(stderr=True)
        )
    except (CheckpointError, DataError, OSError) as error:
        fail(str(error))
    typer.echo(
        f"temperature {found.temperature:.4f}, fitted to {counted(found.images, 'image')}: calibration error "
        f"{found.ece:.2%} -> {found.ece_at_temperature:.2%}, negative log-likelihood {found.nll:.4f} -> "
        f"{found.nll_at_temperature:.4f}"
    )
    typer.echo(f"written: {folder / CONFIG}")


def _fit_thresholds(checkpoint: str, table: Path, only: Path | None, output: Path | None) -> None:
    from rich.console import Console

    from training.errors import CheckpointError, DataError
    from training.evaluation.annotate import fit_thresholds
    from training.evaluation.report.multi_label import print_multi_label

    try:
        result = fit_thresholds(resolve(checkpoint), table, only=only, output=output, console=Console(stderr=True))
    except (CheckpointError, DataError, OSError) as error:
        fail(str(error))
    print_multi_label(result, Console())


def exemplars(
    checkpoint: Checkpoint,
    data: Annotated[
        Path, typer.Argument(help="The training images: one folder per class, or a folder with train/ in it.")
    ],
    exclude: Annotated[
        Path | None, typer.Option(help="Text file that lists images to leave out, such as a run's validation.txt.")
    ] = None,
    layout: LayoutOption = Layout.auto,
    per_class: Annotated[int, typer.Option(min=1, help="Images per class.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Decides which images are chosen.")] = 0,
    output: _Output = None,
) -> None:
    """Store training images with a checkpoint, to explain by example.

    The service shows these small copies beside its explanations. A training run does this for its best model.
    """
    from rich.console import Console

    from training.errors import CheckpointError, DataError
    from training.evaluation.annotate import add_exemplars

    folder = output or resolve(checkpoint)
    try:
        kept = add_exemplars(
            resolve(checkpoint),
            data,
            layout=layout.value,
            exclude=exclude,
            count=per_class,
            seed=seed,
            output=output,
            console=Console(stderr=True),
        )
    except (CheckpointError, DataError, OSError) as error:
        fail(str(error))
    if not kept:
        fail(f"{checkpoint} has too many classes to store an image of each.")
    path = folder / EXEMPLARS
    typer.echo(f"written: {path} ({counted(kept, 'image')}, {path.stat().st_size / 1e6:.2f} MB)")
