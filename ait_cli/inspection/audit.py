"""``ait audit``: look through the images that a model is trained and tested on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Checkpoint, Layout, LayoutOption
from ait_cli.output import check_output, fail
from ait_lite.checkpoint import resolve


def audit(
    checkpoint: Checkpoint,
    data: Annotated[
        Path, typer.Argument(help="Folder with train/, and val/ or test/, in it; or one folder of images per class.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the report: report.html, report.md, findings.csv.")
    ] = Path("audit"),
    layout: LayoutOption = Layout.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find copies and wrong labels among a model's images.

    Finds images that appear in two splits, under two labels, or twice (as the same file, or saved again); labels that
    are probably wrong; and how much the model has memorised its training images. Writes a report with contact
    sheets, and a table with an action for each finding.
    """
    from rich.console import Console

    from training.audit import audit as audit_images
    from training.audit.findings import TITLES
    from training.errors import CheckpointError, DataError

    check_output(output, folder=True)
    try:
        result = audit_images(resolve(checkpoint), data, output, layout=layout.value, console=Console(stderr=True))
    except (CheckpointError, DataError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output}: cannot be written ({error.strerror}).")
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        for kind, title in TITLES.items():
            typer.echo(f"{result.counts[kind]:6}  {title}")
        told = result.memorisation
        if told.auc is not None:
            typer.echo(f"memorisation AUC {told.auc:.3f}, radius {told.radius:.3f}")
        typer.echo(f"written: {output / 'report.html'}, {output / 'findings.csv'}")
