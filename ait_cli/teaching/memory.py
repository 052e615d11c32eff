"""``ait memory``: classes taught with a few images, without training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.lazy_group import plain_app
from ait_cli.output import fail, progress_bar
from ait_lite.checkpoint import atomic_file

if TYPE_CHECKING:
    from training.teaching.answers import Recalled
    from training.teaching.memory import LocalMemory
    from training.teaching.remote_memory import RemoteMemory

app = plain_app(help="Teach classes with a few images, without training.", no_args_is_help=True)


class Readout(StrEnum):
    """Ways to read labels out of a memory."""

    ridge = "ridge"
    hopfield = "hopfield"
    prototype = "prototype"


_Memory = Annotated[Path, typer.Argument(metavar="MEMORY", help="Folder of the memory; with --url, its name.")]
_Model = Annotated[
    str | None,
    typer.Option(help="Where the model is now; default: where it was when the memory was made."),
]
_Url = Annotated[
    str | None,
    typer.Option(help="A server, such as http://localhost:8000; MEMORY is then the name of a memory there."),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def _refusals() -> Iterator[None]:
    """End the command with the reason where something cannot be done."""
    from ait_lite.class_memory import MemoryFolderError
    from training.errors import CheckpointError, DataError

    try:
        yield
    except (CheckpointError, DataError, MemoryFolderError, OSError, ValueError) as error:
        fail(str(error))


@app.command()
def create(
    path: _Memory,
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a checkpoint, or name of a bundled model; with --url, of one on the server."),
    ] = None,
    readout: Annotated[Readout, typer.Option(help="How labels are read out of the examples.")] = Readout.ridge,
    random_features: Annotated[
        int, typer.Option(min=0, help="Random ReLU features, which ridge uses if they lower its error; 0: none.")
    ] = 0,
    beta: Annotated[float, typer.Option(min=0.01, help="Inverse temperature of hopfield.")] = 20.0,
    unknown_level: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.99,
            help="Share of known images that may be called unknown; default: 0.01 in a folder, 0.05 with --url.",
        ),
    ] = None,
    url: _Url = None,
) -> None:
    """Create an empty memory, bound to a model.

    The memory keeps the model's feature vectors, not the images. Another model is refused later.
    """
    if url is not None:
        with _refusals():
            options: dict[str, float] = {"random_features": random_features, "beta": beta}
            if unknown_level is not None:  # else the server's own
                options["unknown_level"] = unknown_level
            described, new = _remote(url, path).create(model=model, readout=readout, **options)
        told = "created" if new else "there already, and left as it is"
        typer.echo(f"{told}: {path} on {url} (model {described['model']}, readout {readout})")
        return
    if model is None:
        fail("name a model with --model: a folder of a checkpoint, or a bundled one.")
    from training.teaching.memory import create_memory

    with _refusals():
        made = create_memory(
            path,
            model,
            readout=readout,
            random_features=random_features,
            beta=beta,
            unknown_level=0.01 if unknown_level is None else unknown_level,
        )
    typer.echo(f"created: {path} ({made.memory.dim} features of {made.model}, readout {readout})")


@app.command()
def teach(
    path: _Memory,
    images: Annotated[
        list[Path],
        typer.Argument(help="Folders with a folder of images per class; with --label, images or folders."),
    ],
    label: Annotated[str | None, typer.Option(help="What all the images show.")] = None,
    model: _Model = None,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out files that cannot be read.")] = False,
    as_json: _AsJson = False,
    url: _Url = None,
) -> None:
    """Teach a memory labelled images.

    An image that is known already is not taught twice; under another label, its label is corrected.
    """
    from training.teaching.files import labelled_files

    with _refusals():
        files = labelled_files(images, label)
        with progress_bar("teaching") as progress:
            place = _local(path, model) if url is None else _remote(url, path)
            result = place.teach(files, skip_broken=skip_broken, progress=progress)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    for reason in result.skipped:
        typer.echo(f"left out: {reason}", err=True)
    typer.echo(
        f"taught: {result.added} new, {result.relabelled} relabelled, {result.known} known already; "
        f"{result.examples} examples of {len(result.labels)} labels now"
    )


@app.command()
def forget(
    path: _Memory,
    images: Annotated[
        list[Path] | None, typer.Argument(help="Images to forget, recognised by their bytes; not with --url.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Forget all examples of a label; repeatable.")] = None,
    identifier: Annotated[list[str] | None, typer.Option("--id", help="Forget an example; repeatable.")] = None,
    url: _Url = None,
) -> None:
    """Forget examples exactly.

    The memory is then the same, to the bit, as if they had never been taught.
    """
    if not (images or label or identifier):
        fail("name what to forget: images, --label or --id.")
    with _refusals():
        if url is None:
            from training.teaching.memory import forget as forget_examples

            count = forget_examples(path, ids=identifier or (), labels=label or (), files=images or ())
        elif images:
            fail("a server forgets by --id and --label.")
        else:
            count = _remote(url, path).forget(ids=identifier or (), labels=label or ())
    typer.echo(f"forgotten: {count} examples")


@app.command()
def recall(
    path: _Memory,
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    top_k: Annotated[int, typer.Option(min=1, help="Labels per image.")] = 3,
    evidence: Annotated[int, typer.Option(min=0, help="Most similar taught images to name per image.")] = 3,
    readout: Annotated[
        Readout | None, typer.Option(help="Readout in place of the memory's own; not with --url.")
    ] = None,
    model: _Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    url: _Url = None,
) -> None:
    """Ask a memory what images show.

    Prints labels with scores, the p-value of belonging to what was taught, the most similar taught images, and what
    the label would be without the strongest of them.
    """
    from training.teaching.files import image_files

    if url is not None and readout is not None:
        fail("a memory on a server answers with its own readout.")
    with _refusals():
        files = image_files(images)
        with progress_bar("recalling") as progress:
            if url is None:
                place = _local(path, model)
                answers = place.recall(files, top_k=top_k, evidence=evidence, readout=readout, progress=progress)
            else:
                answers = _remote(url, path).recall(files, top_k=top_k, evidence=evidence, progress=progress)
    say: Callable[[Recalled], str] = (lambda answer: json.dumps(answer.to_json())) if as_json else _describe
    for answer in answers:
        typer.echo(say(answer), err=answer.error is not None and not as_json)
    if any(answer.error is not None for answer in answers):
        raise typer.Exit(1)


@app.command()
def verify(
    path: _Memory,
    model: Annotated[
        str | None, typer.Option(help="Check that the memory was taught with this checkpoint; not with --url.")
    ] = None,
    as_json: _AsJson = False,
    url: _Url = None,
) -> None:
    """Rebuild a memory from its examples, and compare to the bit.

    Prints its digest and how full it is. Exit code 1 where anything differs.
    """
    if url is not None:
        if model is not None:
            fail("a server knows which model its memories are of: leave out --model.")
        with _refusals():
            told = _remote(url, path).verify()
        state = "sound" if told["equal"] else "DAMAGED"
        typer.echo(
            json.dumps(told, indent=2) if as_json else f"{state}: revision {told['revision']}, digest {told['digest']}"
        )
        raise typer.Exit(0 if told["equal"] else 1)
    from training.teaching.memory import verify as verify_memory

    with _refusals():
        result = verify_memory(path, model)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
    else:
        typer.echo(f"{'sound' if result.sound else 'DAMAGED'}: {result.examples} examples, digest {result.digest}")
        if (full := result.fullness) is not None:
            typer.echo(
                f"effective dimension {full.effective_dimension:.1f} of {full.width}, leave-one-out accuracy "
                f"{full.accuracy:.1%}, regularisation {full.regularisation:g}"
            )
    if not result.sound:
        raise typer.Exit(1)


@app.command()
def export(
    path: _Memory,
    output: Annotated[
        Path,
        typer.Argument(
            help="A .safetensors file for the memory, or .csv for its examples; the latter not with --url."
        ),
    ],
    url: _Url = None,
) -> None:
    """Write a memory as one file, or its examples as a table."""
    with _refusals():
        if url is None:
            from training.teaching.memory import export as export_memory

            export_memory(path, output)
        elif output.suffix != ".safetensors":
            fail(f"{output}: a server gives the memory alone; give a file that ends in .safetensors.")
        else:
            content = _remote(url, path).export()
            with atomic_file(output) as temporary:
                temporary.write_bytes(content)
    typer.echo(f"written: {output}")


# Only a memory on files needs torch; one on a server is answered without waiting for it.
def _local(path: Path, model: str | None) -> LocalMemory:
    from training.teaching.memory import LocalMemory

    return LocalMemory(path, model)


def _remote(url: str, name: Path) -> RemoteMemory:
    from training.teaching.remote_memory import RemoteMemory

    return RemoteMemory(url, str(name))


def _describe(answer: Recalled) -> str:
    if answer.error is not None:
        return answer.error
    scores = "  ".join(f"{label} {score:.2f}" for label, score in answer.labels) or "no label"
    p_value = "" if answer.p_value is None else f"  (p = {answer.p_value:.3g})"  # an empty memory has none
    lines = [f"{answer.path}: {'unknown; nearest ' if answer.unknown else ''}{scores}{p_value}"]
    if answer.reason:
        lines.append(f"  cannot tell yet: {answer.reason}")
    for each in answer.evidence:
        label = f"{'not ' if each.negative else ''}{each.label}"
        lines.append(f"  {label} ({each.similarity:.3f})  {each.path or each.id}")
    if answer.strongest is not None and answer.label_without_strongest is not None:
        path = next((each.path for each in answer.evidence if each.id == answer.strongest), "")
        lines.append(f"  without {path or answer.strongest}: {answer.label_without_strongest}")
    return "\n".join(lines)
