"""``ait predict``: classify image files and folders of them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ait_cli.arguments import load_classifier
from ait_cli.output import fail
from ait_lite.wording import counted

if TYPE_CHECKING:
    from ait.file_prediction import FilePrediction

_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "text"}


class Format(StrEnum):
    """How answers are written."""

    text = "text"
    csv = "csv"
    jsonl = "jsonl"


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders of them at any depth.")],
    model: Annotated[
        str | None,
        typer.Option(
            envvar="AIT_MODEL",
            help="Checkpoint folder or bundled model; default: the one that `ait models` says is used.",
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Labels per image.")] = 5,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="text, csv, or jsonl: a JSON object per line; default: by OUTPUT, else text."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write into this .csv, .jsonl or .txt file.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(envvar="AIT_DEVICE", help="Such as cpu or cuda; default: an accelerator where there is one."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Most images in one forward pass.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Classify images, with the same answers as the service gives.

    Hidden and system entries of folders are left out. If a file cannot be used, it is named, and the exit code is 1.
    """
    kind = Format.jsonl if as_json else format_ or _by_ending(output)

    from ait.file_prediction import find_images, predict_files
    from ait_lite.checkpoint import default_model

    try:
        found = find_images(images)
    except OSError as error:
        fail(f"{error.filename} cannot be listed: {error.strerror}" if error.filename else str(error))
    for remark in found.remarks:
        typer.echo(remark, err=True)
    classifier = load_classifier(
        model or default_model() or fail("no model is bundled; name one with --model"), device, batch_size
    )
    unread = 0
    with _opened(output) as file, _progress(len(found.paths), file) as advance:
        write = _writer(kind, file, min(top_k, len(classifier.labels)))
        for prediction in predict_files(classifier, found.paths, top_k):
            if prediction.error is not None:
                unread += 1
                typer.echo(f"{_printable(prediction.path)}: {prediction.error}", err=True)
            write(prediction)
            advance()
    if unread:
        fail(f"{unread} of {len(found.paths)} files cannot be used.")
    if output is not None:
        typer.echo(f"written: {output} ({counted(len(found.paths), 'image')})", err=True)


def _by_ending(output: Path | None) -> Format:
    if output is None:
        return Format.text
    if output.suffix.lower() not in _ENDINGS:
        fail(f"{output}: the ending names no format; end it in {', '.join(_ENDINGS)}, or pass --format.")
    return Format(_ENDINGS[output.suffix.lower()])


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Open where answers go, or end the command with the reason why they cannot be written."""
    # Names that are not UTF-8 keep their bytes.
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    try:
        if output is None:
            yield sys.stdout
            sys.stdout.flush()
        else:
            with output.open("w", **options) as file:
                yield file
    except BrokenPipeError:
        raise typer.Exit(1) from None  # whoever reads has enough
    except OSError as error:
        fail(f"{output or 'the standard output'}: cannot be written ({error.strerror}).")


@contextmanager
def _progress(count: int, file: TextIO) -> Iterator[Any]:
    """Show a bar on a terminal, unless the answers themselves are shown there."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal or file.isatty()) as bar:
        task = bar.add_task("classifying", total=count)
        yield lambda: bar.advance(task)


def _writer(kind: Format, file: TextIO, top_k: int) -> Any:
    """Make a function that writes one answer."""
    if kind is Format.jsonl:
        return lambda prediction: print(json.dumps(_record(prediction)), file=file)
    if kind is Format.csv:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["path", *(f"{what}_{rank}" for rank in range(1, top_k + 1) for what in ("label", "score")), "error"]
        )
        return lambda prediction: table.writerow(_row(prediction, top_k))

    def write(prediction: FilePrediction) -> None:
        if prediction.error is None:
            shares = "  ".join(f"{name} {score:.1%}" for name, score in prediction.labels)
            print(f"{_printable(prediction.path)}: {shares}", file=file)

    return write


def _record(prediction: FilePrediction) -> dict[str, Any]:
    labels = [{"label": name, "score": score} for name, score in prediction.labels]
    return {"path": str(prediction.path), "labels": labels, "error": prediction.error}


def _row(prediction: FilePrediction, top_k: int) -> list[str | float]:
    values: list[str | float] = [value for label in prediction.labels for value in label]
    return [str(prediction.path), *values, *[""] * (2 * top_k - len(values)), prediction.error or ""]


def _printable(path: Path) -> str:
    from ait_lite.names import to_name

    return to_name(str(path))
