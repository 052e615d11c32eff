"""``ait correct``: right answers to images that a model gets wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Checkpoint, Layout, LayoutOption
from ait_cli.output import fail, progress_bar
from ait_lite.checkpoint import CORRECTIONS, resolve
from ait_lite.wording import counted


def correct(
    checkpoint: Checkpoint,
    wrong: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Wrongly answered images: one folder of images per right label; or any images, with --label."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Validation images: one folder per class, or a folder with val/ or test/ in it."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The right label of all the images.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for a corrected copy; default: in place.")
    ] = None,
    only: Annotated[
        Path | None, typer.Option(help="Text file that lists the validation images to use, as validation.txt does.")
    ] = None,
    layout: LayoutOption = Layout.auto,
    withdraw: Annotated[
        bool,
        typer.Option("--withdraw", help="Withdraw the corrections of the named images, or all if none are named."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Correct a checkpoint's answers to single images.

    Weights stay as they are: the folder gets a file of corrections, which ait predict and the service follow. A
    correction answers only images whose features are nearly the same; how near is fitted to half of the validation
    images, and accuracy is measured on the other half. Once all corrections are withdrawn, the folder is again the
    same to the byte.
    """
    from training.errors import CheckpointError, DataError, OutputError
    from training.teaching.correct import correct as correct_answers
    from training.teaching.correct import withdraw as withdraw_corrections
    from training.teaching.files import image_files, labelled_files

    folder = resolve(checkpoint)
    try:
        if withdraw:
            if output is not None:
                fail("--withdraw changes the checkpoint in place: leave out --output.")
            count = withdraw_corrections(folder, image_files(wrong) if wrong else ())
            typer.echo(json.dumps({"withdrawn": count}) if as_json else f"withdrawn: {count} corrections")
            return
        if not wrong or data is None:
            fail("name the images that are answered wrongly, and validation images with --data.")
        with progress_bar("running the model") as progress:
            result = correct_answers(
                folder,
                labelled_files(wrong, label),
                data,
                output=output,
                only=only,
                layout=layout.value,
                progress=progress,
            )
    except (CheckpointError, DataError, OutputError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror}.")
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
        return
    for reason in result.refused:
        typer.echo(f"not corrected: {reason}", err=True)
    typer.echo(
        f"corrected: {counted(result.added, 'image')} ({result.already_right} right already), "
        f"{counted(result.corrections, 'correction')} in all; {result.holding:.1%} of the wrong images are answered "
        "rightly now"
    )
    typer.echo(
        f"accuracy on {counted(result.validation_images, 'other image')}: {result.accuracy_before:.2%} -> "
        f"{result.accuracy_after:.2%}; {result.fired:.2%} of them meet a correction (gate {result.gate:.4f})"
    )
    if result.corrections:
        typer.echo(f"written: {(output or folder) / CORRECTIONS}")
