"""``ait memory teach|list|correct|forget|recall``: the examples of a memory, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.output import fail, progress_bar
from ait_cli.teaching.memory_places import (
    AsJson,
    MemoryPlace,
    Url,
    local_memory,
    need_server,
    refusals,
    remote_memory,
)
from ait_cli.teaching.memory_whole import Readout
from ait_lite.wording import counted

if TYPE_CHECKING:
    from training.teaching.answers import EvidenceFile, Listed, Recalled

ModelNow = Annotated[
    str | None,
    typer.Option(help="Where the model is now; default: where it was when the memory was made."),
]


def teach(
    path: MemoryPlace,
    images: Annotated[
        list[Path],
        typer.Argument(help="Folders with a folder of images per class; with --label, images or folders."),
    ],
    label: Annotated[str | None, typer.Option(help="What all the images show.")] = None,
    model: ModelNow = None,
    source: Annotated[
        str | None, typer.Option(help="Where the images come from, to forget them by; needs --url.")
    ] = None,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out files that cannot be read.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Teach a memory labelled images.

    An image that is known already is not taught twice; under another label, its label is corrected. A server that is
    busy is asked again.
    """
    if url is None and source is not None:
        need_server("--source", "A memory in a folder notes the path of each image.")
    from training.teaching.files import labelled_files

    with refusals():
        files = labelled_files(images, label)
        with progress_bar("teaching") as progress:
            if url is None:
                result = local_memory(path, model).teach(files, skip_broken=skip_broken, progress=progress)
            else:
                place = remote_memory(url, path)
                result = place.teach(files, source=source or "", skip_broken=skip_broken, progress=progress)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    for reason in result.skipped:
        typer.echo(f"left out: {reason}", err=True)
    typer.echo(
        f"taught: {result.added} new, {result.relabelled} relabelled, {result.known} known already; "
        f"{counted(result.examples, 'example')} of {counted(len(result.labels), 'label')} now"
    )


def list_held(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="MEMORY", help="Folder of the memory; with --url, its name, or nothing for all memories there."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Only examples of this label.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Only examples that were taught with this --source; needs --url.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the examples of a memory by id, or the memories of a server.

    Says of each example its id, its label, and where it comes from.
    """
    if path is None:
        if url is None:
            fail("name the folder of a memory, or a server with --url.")
        if label is not None or source is not None:
            fail("name the memory whose examples of a label or of a source you mean.")
        from training.teaching.remote_memory import list_memories

        with refusals():
            memories = list_memories(url)
        if as_json:
            typer.echo(json.dumps(memories, indent=2))
        for each in [] if as_json else memories:
            about = f"{counted(each['examples'], 'example')}, model {each['model']}, readout {each['readout']}"
            typer.echo(f"{each['name']}  ({about}, keeps {each['keep']})")
        return
    if url is None and source is not None:
        need_server("--source", "A memory in a folder lists the path of each image.")
    with refusals():
        if url is None:
            from training.teaching.upkeep import list_examples

            held = list_examples(path, label)
        else:
            held = remote_memory(url, path).examples(label=label, source=source)
    if as_json:
        typer.echo(json.dumps([asdict(example) for example in held], indent=2))
    for example in [] if as_json else held:
        typer.echo(f"{example.id}  {_shown(example)}  {example.source}".rstrip())


def correct(
    path: MemoryPlace,
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID", help="Ids of examples, as `ait memory list` and `recall` name them."),
    ],
    label: Annotated[str | None, typer.Option(help="What they show.")] = None,
    not_label: Annotated[
        str | None,
        typer.Option("--not", help="What they do not show, where it isn't said what they do; needs --url."),
    ] = None,
    url: Url = None,
) -> None:
    """Correct what examples show, or say what they do not show.

    Images like one of which is said what it does not show get that label less.
    """
    if (label is None) == (not_label is None):
        fail("say what the examples show with --label, or what they do not show with --not.")
    if url is not None:
        with refusals():
            count = remote_memory(url, path).correct(ids, label or not_label or "", negative=label is None)
    elif label is None:
        need_server("--not", "A memory in a folder corrects by --label.")
    else:
        from training.teaching.upkeep import correct_examples

        with refusals():
            count = correct_examples(path, ids, label)
    typer.echo(f"corrected: {counted(count, 'example')}")


def forget(
    path: MemoryPlace,
    images: Annotated[
        list[Path] | None, typer.Argument(help="Images to forget, recognised by their bytes; not with --url.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Forget all examples of a label; repeatable.")] = None,
    identifier: Annotated[list[str] | None, typer.Option("--id", help="Forget an example; repeatable.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="Forget all examples that were taught with --source; repeatable, needs --url."),
    ] = None,
    url: Url = None,
) -> None:
    """Forget examples exactly.

    The memory is then the same, to the bit, as if they had never been taught.
    """
    if not (images or label or identifier or source):
        fail("name what to forget: images, --label, --id or --source.")
    if url is None and source:
        need_server("--source", "Forget images themselves, or by --label or --id.")
    with refusals():
        if url is None:
            from training.teaching.memory import forget as forget_examples

            count = forget_examples(path, ids=identifier or (), labels=label or (), files=images or ())
        elif images:
            fail("a server forgets by --id, --label and --source; `ait memory list` says the ids.")
        else:
            memory = remote_memory(url, path)
            count = memory.forget(ids=identifier or (), labels=label or (), sources=source or ())
    typer.echo(f"forgotten: {counted(count, 'example')}")


def recall(
    path: MemoryPlace,
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    top_k: Annotated[int, typer.Option(min=1, help="Labels per image.")] = 3,
    evidence: Annotated[int, typer.Option(min=0, help="Most similar taught images to name per image.")] = 3,
    readout: Annotated[
        Readout | None, typer.Option(help="Readout in place of the memory's own; not with --url.")
    ] = None,
    model: ModelNow = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    url: Url = None,
) -> None:
    """Ask a memory what images show.

    Prints labels with scores, the p-value of belonging to what was taught, the most similar taught images, and what
    the label would be without the strongest of the five most similar.
    """
    from training.teaching.files import image_files

    if url is not None and readout is not None:
        fail("a memory on a server answers with its own readout.")
    with refusals():
        files = image_files(images)
        with progress_bar("recalling") as progress:
            if url is None:
                place = local_memory(path, model)
                answers = place.recall(files, top_k=top_k, evidence=evidence, readout=readout, progress=progress)
            else:
                answers = remote_memory(url, path).recall(files, top_k=top_k, evidence=evidence, progress=progress)
    say: Callable[[Recalled], str] = (lambda answer: json.dumps(answer.to_json())) if as_json else _describe
    for answer in answers:
        typer.echo(say(answer), err=answer.error is not None and not as_json)
    if any(answer.error is not None for answer in answers):
        raise typer.Exit(1)


def _describe(answer: Recalled) -> str:
    if answer.error is not None:
        return answer.error
    scores = "  ".join(f"{label} {score:.2f}" for label, score in answer.labels) or "no label"
    p_value = "" if answer.p_value is None else f"  (p = {answer.p_value:.3g})"  # an empty memory has none
    lines = [f"{answer.path}: {'unknown; nearest ' if answer.unknown else ''}{scores}{p_value}"]
    if answer.reason:
        lines.append(f"  cannot tell yet: {answer.reason}")
    for each in answer.evidence:
        lines.append(f"  {_shown(each)} ({each.similarity:.3f})  {each.path or each.id}")
    if answer.strongest is not None and answer.label_without_strongest is not None:
        lines.append(f"  without {answer.strongest_path or answer.strongest}: {answer.label_without_strongest}")
    return "\n".join(lines)


def _shown(example: EvidenceFile | Listed) -> str:
    return f"not {example.label}" if example.negative else example.label
