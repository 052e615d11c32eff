"""``ait predict``: classify image files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ait_cli.output import fail


def predict(
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG or WebP files.")],
    model: Annotated[
        str | None, typer.Option(help="Folder or bundled model; default: AIT_MODEL, else the bundled one.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Labels per image.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Classify images, with the same answers as the service gives."""
    from service.errors import SettingsError
    from service.predict import iter_predictions
    from service.repository.folders import ModelError

    failed = False
    try:
        for prediction in iter_predictions(images, model, top_k):
            failed |= prediction.error is not None
            if as_json:
                labels = [{"label": name, "score": score} for name, score in prediction.labels]
                record = {"path": str(prediction.path), "labels": labels, "error": prediction.error}
                typer.echo(json.dumps(record))
            elif prediction.error is not None:
                typer.echo(prediction.error, err=True)
            else:
                shares = "  ".join(f"{name} {score:.1%}" for name, score in prediction.labels)
                typer.echo(f"{prediction.path}: {shares}")
    except (ModelError, SettingsError) as error:
        fail(str(error))
    if failed:
        raise typer.Exit(1)
