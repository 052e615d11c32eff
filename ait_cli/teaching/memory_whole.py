"""``ait memory create|import|export|verify|health|rebind|delete``: memories as a whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ait_cli.output import fail
from ait_cli.teaching.memory_places import AsJson, MemoryPlace, Url, need_server, refusals, remote_memory
from ait_lite.checkpoint import atomic_file
from ait_lite.wording import counted


class Readout(StrEnum):
    """Ways to read labels out of a memory."""

    ridge = "ridge"
    hopfield = "hopfield"
    associative = "associative"
    prototype = "prototype"


class Start(StrEnum):
    """What a new memory knows."""

    nothing = "nothing"
    head = "head"


class Keep(StrEnum):
    """What a server keeps of images."""

    nothing = "nothing"
    thumbnail = "thumbnail"
    image = "image"


_Keep = Annotated[
    Keep | None,
    typer.Option(
        help="What a server keeps of images: nothing, a thumbnail (its default), or the image, which `rebind` takes. "
        "A folder keeps nothing."
    ),
]


def create(
    path: MemoryPlace,
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a checkpoint, or name of a bundled model; with --url, of one on the server."),
    ] = None,
    start: Annotated[
        Start,
        typer.Option(
            help="What it knows at first: nothing, or what the model's associative head knows, whose priors are its "
            "first examples; the head decides the options from --readout to --unknown-level then."
        ),
    ] = Start.nothing,
    readout: Annotated[
        Readout | None, typer.Option(help="How labels are read out of the examples.", show_default="ridge")
    ] = None,
    random_features: Annotated[
        int | None,
        typer.Option(
            min=0, help="Random ReLU features, which ridge uses if they lower its error.", show_default="0, none"
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(min=0.01, help="Inverse temperature of hopfield, associative.", show_default="20"),
    ] = None,
    unknown_level: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.99,
            help="Share of known images that may be called unknown.",
            show_default="0.01 in a folder, 0.05 with --url",
        ),
    ] = None,
    keep: _Keep = None,
    url: Url = None,
) -> None:
    """Create a memory, bound to a model.

    The memory keeps the model's feature vectors, and of the images nothing but what --keep says. Another model is
    refused later.
    """
    chosen: dict[str, Any] = {
        "readout": readout,
        "random_features": random_features,
        "beta": beta,
        "unknown_level": unknown_level,
    }
    options = {name: value for name, value in chosen.items() if value is not None}
    if start is Start.head and options:
        named = ", ".join("--" + name.replace("_", "-") for name in options)
        fail(f"--start head leaves no choice of {named}: the head decides. Leave that out.")
    if url is not None:
        with refusals():
            more = options | ({} if keep is None else {"keep": keep})
            described, new = remote_memory(url, path).create(model=model, start=start, **more)
        told = "created" if new else "there already, and left as it is"
        typer.echo(f"{told}: {path} on {url} (model {described['model']}, readout {described['readout']})")
        return
    _check_folder_keeps(keep)
    if model is None:
        fail("name a model with --model: a folder of a checkpoint, or a bundled one.")
    from training.teaching.memory import create_memory

    with refusals():
        made = create_memory(path, model, from_head=start is Start.head, **options)
    memory = made.memory
    typer.echo(f"created: {path} ({memory.dim} features of {made.model}, readout {memory.readout})")


def verify(
    path: MemoryPlace,
    model: Annotated[
        str | None, typer.Option(help="Check that the memory was taught with this checkpoint; not with --url.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Rebuild a memory from its examples, and compare to the bit.

    Prints its digest and how full it is; of a memory on a server, whether what was forgotten is erased from its store.
    Exit code 1 where anything differs.
    """
    if url is not None:
        if model is not None:
            fail("a server knows which model its memories are of: leave out --model.")
        with refusals():
            told = remote_memory(url, path).verify()
        if as_json:
            typer.echo(json.dumps(told, indent=2))
        else:
            state = "sound" if told["equal"] else "DAMAGED"
            typer.echo(f"{state}: revision {told['revision']}, digest {told['digest']}")
            typer.echo(
                "erased: nothing that was forgotten is left in the store"
                if told["erased"]
                else "NOT ERASED YET: something that was forgotten is still in the store; verify again later"
            )
        raise typer.Exit(0 if told["equal"] else 1)
    from training.teaching.memory import verify as verify_memory

    with refusals():
        result = verify_memory(path, model)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
    else:
        typer.echo(
            f"{'sound' if result.sound else 'DAMAGED'}: {counted(result.examples, 'example')}, digest {result.digest}"
        )
        if (full := result.fullness) is not None:
            typer.echo(
                f"effective dimension {full.effective_dimension:.1f} of {full.width}, "
                f"regularisation {full.regularisation:g}"
            )
        if result.accuracy is not None:
            typer.echo(f"told right when each of {result.judged} is left out: {result.accuracy:.1%}")
    if not result.sound:
        raise typer.Exit(1)


def export(
    path: MemoryPlace,
    output: Annotated[
        Path,
        typer.Argument(
            help="A .safetensors file for the memory, or .csv for its examples; the latter not with --url."
        ),
    ],
    url: Url = None,
) -> None:
    """Write a memory as one file, or its examples as a table."""
    with refusals():
        if url is None:
            from training.teaching.exporting import export as export_memory

            export_memory(path, output)
        elif output.suffix != ".safetensors":
            fail(f"{output}: a server gives the memory alone; give a file that ends in .safetensors.")
        else:
            content = remote_memory(url, path).export()
            with atomic_file(output) as temporary:
                temporary.write_bytes(content)
    typer.echo(f"written: {output}")


def import_file(
    path: MemoryPlace,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .safetensors file, as `ait memory export` writes it.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that the file's memory was taught with: a folder of a checkpoint, or a bundled one; with "
            "--url, one on the server. Default: that of the memory that is replaced, or the server's default model."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace all that the memory holds; else there must be none of this name."),
    ] = False,
    keep: _Keep = None,
    url: Url = None,
) -> None:
    """Make a memory of a file.

    A memory of another model is refused.
    """
    if url is None:
        _check_folder_keeps(keep)
        from training.teaching.importing import import_memory

        with refusals():
            made = import_memory(path, file, model, replace=replace).memory
        examples, labels, of = len(made), len(made.labels), ""
    else:
        with refusals():
            described = remote_memory(url, path).import_file(
                file.read_bytes(), model=model, keep=keep, replace=replace
            )
        examples, labels, of = described["examples"], len(described["labels"]), f" on {url}"
    typer.echo(f"imported: {path}{of} ({counted(examples, 'example')} of {counted(labels, 'label')})")


def health(
    path: MemoryPlace,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Examine a memory on a server.

    Prints what share of the examples is told right when each is left out in turn, what is confused with what, examples
    that the others doubt, images that came twice, and labels that more images would help.
    """
    if url is None:
        need_server("health", "`ait memory verify` says how full a memory in a folder is, and how good.")
    with refusals():
        told = remote_memory(url, path).health()
    typer.echo(json.dumps(told, indent=2) if as_json else _describe_health(told))


def rebind(
    path: MemoryPlace,
    model: Annotated[
        str | None, typer.Option(help="The model; default: the one of the same name that is served now.")
    ] = None,
    url: Url = None,
) -> None:
    """Bind a memory on a server to another model, by its kept images.

    The model looks at all of them. The memory must have been created with `--keep image`.
    """
    if url is None:
        need_server("rebind", "A folder keeps no images: teach a new memory with the other model.")
    with refusals():
        described = remote_memory(url, path).rebind(model)
    typer.echo(f"bound: {path} on {url} to model {described['model']} ({counted(described['examples'], 'example')})")


def delete(
    path: MemoryPlace,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
) -> None:
    """Delete a memory with all that it holds.

    Asks before, unless --yes is given. What is deleted cannot be brought back.
    """
    with refusals():
        if url is None:
            from training.teaching.upkeep import delete_memory

            _ask_before(yes, f"Delete the memory {path}?")
            delete_memory(path)
        else:
            memory = remote_memory(url, path)
            _ask_before(
                yes, f"Delete the memory {path} on {url} with {counted(memory.describe()['examples'], 'example')}?"
            )
            memory.delete()
    typer.echo(f"deleted: {path}{'' if url is None else f' on {url}'}")


def _ask_before(yes: bool, question: str) -> None:
    if not yes:
        typer.confirm(question, abort=True)


def _check_folder_keeps(keep: Keep | None) -> None:
    if keep not in (None, Keep.nothing):
        need_server(f"--keep {keep}", "A memory in a folder keeps no images.")


def _describe_health(told: dict[str, Any]) -> str:
    lines = [
        f"{counted(told['examples'], 'example')} of {counted(len(told['labels']), 'label')}, {told['bytes']:,} bytes"
    ]
    if told["accuracy"] is not None:
        lines.append(f"told right when each of {told['judged']} is left out: {told['accuracy']:.1%}")
    if told["width"]:
        lines.append(f"effective dimension {told['effective_dimension']:.1f} of {told['width']}")
    for each in told["labels"]:
        negatives = f", {each['negatives']} of what is not" if each["negatives"] else ""
        right = "" if each["accuracy"] is None else f", {each['accuracy']:.1%} told right"
        lines.append(f"  {each['label']}: {counted(each['examples'], 'example')}{negatives}{right}")
    for each in told["confusions"]:
        lines.append(f"confused: {each['label']} is taken for {each['taken_for']}, {each['examples']} times")
    for each in told["doubts"]:
        lines.append(f"doubtful: {each['id']} ({each['label']}) looks like {each['taken_for']}")
    for ids in told["same_file"]:
        lines.append(f"same file: {', '.join(ids)}")
    for each in told["near_duplicates"]:
        named = [f"{identifier} ({label})" for identifier, label in zip(each["ids"], each["labels"], strict=True)]
        lines.append(f"all but the same: {', '.join(named)}")
    for each in told["advice"]:
        lines.append(f"teach more {each['label']}: {each['reason']}")
    return "\n".join(lines)
