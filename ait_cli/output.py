"""What all commands print: refusals, progress and JSON."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer


def fail(message: str) -> NoReturn:
    """Print an error to stderr and end the command.

    Args:
        message: Names the input and the remedy.

    Raises:
        typer.Exit: Always, with exit code 1.
    """
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def write_json(result: Mapping[str, Any], path: Path | None) -> None:
    """Write a result as indented JSON, or end the command with the reason why it cannot be written.

    Args:
        result: What to write.
        path: The file; None writes nothing.
    """
    if path is not None:
        try:
            path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            fail(f"{path}: cannot be written ({error.strerror}).")


def check_output(path: Path | None, *, folder: bool = False, parents: bool = False) -> None:
    """End the command before long work whose result could not be written afterwards; nothing is written.

    Args:
        path: Where the result will go; None is nowhere.
        folder: Whether it is a folder, which is made with those above it, in place of a file.
        parents: Whether the folders above a file are made.
    """
    if path is None:
        return
    candidates = (path, *path.parents) if folder or parents else (path, path.parent)
    place = next((each for each in candidates if each.exists()), None)
    if place is None:
        reason = errno.ENOENT
    elif place is path and place.is_dir() and not folder:
        reason = errno.EISDIR
    elif (place is not path or folder) and not place.is_dir():
        reason = errno.ENOTDIR
    elif not os.access(place, os.W_OK):
        reason = errno.EACCES
    else:
        return
    fail(f"{path}: cannot be written ({os.strerror(reason)}); name another.")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, where that is a terminal, for the time of a ``with`` block.

    Args:
        title: What is being done.

    Yields:
        A function that is told how many of how many are done.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
