"""``ait compare``: two models on the same images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Layout, LayoutOption
from ait_cli.measurement.tables import comparison_table, multi_label_comparison_table, wide_console
from ait_cli.output import check_output, fail
from ait_lite.checkpoint import read_config


def compare(
    first: Annotated[str, typer.Argument(help="Folder of a run or of a checkpoint, or name of a bundled model.")],
    second: Annotated[str, typer.Argument(help="The model to compare it with, named likewise.")],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with one folder of images per class, or with val/ or test/ in it; default: the images that "
            "both runs held out."
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="Kind of DATA, as a recipe's data.source.")] = "folder",
    layout: LayoutOption = Layout.auto,
    only: Annotated[Path | None, typer.Option(help="Text file that lists the images to use.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the images that the two differ on to this CSV file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two models on the same labelled images.

    Prints how much more often the second is right, with the 95 % interval of the paired difference, overall and for
    each class; p is of the exact test, and is what to go by where few images differ. Of models that tell any number
    of classes an image, it compares average precisions; DATA is a table.
    """
    from rich.console import Console

    from training.errors import CheckpointError, DataError
    from training.evaluation.comparison.multi_label import MultiLabelComparison, compare_multi_label
    from training.evaluation.comparison.paired import Comparison
    from training.evaluation.comparison.paired import compare as compare_checkpoints
    from training.evaluation.report.run import HeldOut, held_out_by_both, run_or_checkpoint

    check_output(output)
    progress = Console(stderr=True)
    result: Comparison | MultiLabelComparison
    try:
        one, other = run_or_checkpoint(first), run_or_checkpoint(second)
        given = data and HeldOut(str(data), source, layout.value, only)
        images = given or held_out_by_both(one, other)
        several = [bool(read_config(each).get("multi_label")) for each in (one, other)]
        if several[0] != several[1]:
            fail(f"only one of {first} and {second} tells several classes an image: they cannot be compared.")
        if several[0]:
            result = compare_multi_label(one, other, images.root, only=images.only, console=progress)
        else:
            result = compare_checkpoints(
                one,
                other,
                images.root,
                source=images.source,
                layout=images.layout,
                only=images.only,
                console=progress,
            )
    except (CheckpointError, DataError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; choose another file or folder.")
    if output is not None:
        try:
            result.write_differing(output)
        except OSError as error:  # which names a temporary file
            fail(f"{output}: cannot be written ({error.strerror}); choose another file with --output.")
    if as_json:
        typer.echo(json.dumps({"first": first, "second": second} | result.to_json(), indent=2))
    else:
        low, high = result.overall.interval or (-1.0, 1.0)
        console = wide_console()
        console.print(f"first: {first}\nsecond: {second}", soft_wrap=True, highlight=False, markup=False)
        if isinstance(result, MultiLabelComparison):
            console.print(multi_label_comparison_table(result.to_json()))
            losses = "binary cross-entropy: {:.4f} and {:.4f}".format(*result.loss)
        else:
            console.print(comparison_table(result.to_json()))
            losses = "negative log-likelihood, each with its temperature: {:.4f} and {:.4f}".format(*result.nll)
        verdict = "no difference that these images could show" if low <= 0 <= high else "a difference beyond chance"
        console.print(f"{losses}; {verdict}", soft_wrap=True)
    if output is not None:
        progress.print(f"written: {output}", soft_wrap=True, highlight=False)
