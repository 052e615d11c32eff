"""What the commands about memories share: where a memory is, and how refusals are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ait_cli.output import fail

if TYPE_CHECKING:
    from training.teaching.memory import LocalMemory
    from training.teaching.remote_memory import RemoteMemory

MemoryPlace = Annotated[Path, typer.Argument(metavar="MEMORY", help="Folder of the memory; with --url, its name.")]
Url = Annotated[
    str | None,
    typer.Option(help="A server, such as http://localhost:8000; MEMORY is then the name of a memory there."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def refusals() -> Iterator[None]:
    """End the command with the reason where something cannot be done."""
    from ait_lite.class_memory import MemoryFolderError
    from training.errors import CheckpointError, DataError

    try:
        yield
    except (CheckpointError, DataError, MemoryFolderError, OSError, ValueError) as error:
        fail(str(error))


def need_server(what: str, instead: str = "") -> NoReturn:
    """End the command, because a memory in a folder cannot do something.

    Args:
        what: Cannot be done.
        instead: A sentence about what can.
    """
    fail(f"{what} needs a memory on a server: name the server with --url.{instead and ' '}{instead}")


# Only a memory on files needs torch; one on a server is answered without waiting for it.
def local_memory(path: Path, model: str | None) -> LocalMemory:
    """Open a memory in a folder with its model."""
    from training.teaching.memory import LocalMemory

    return LocalMemory(path, model)


def remote_memory(url: str, name: Path) -> RemoteMemory:
    """Name a memory on a server."""
    from training.teaching.remote_memory import RemoteMemory

    return RemoteMemory(url, str(name))
