"""Commands that are imported when they are asked for, so that none waits for the others."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup


def plain_app(**options: Any) -> typer.Typer:
    """Make an app whose help is plain text, and whose errors are Python's own.

    Args:
        options: Further ones of `typer.Typer`.
    """
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def load_command(name: str, place: str) -> Any:
    """Import a command.

    Args:
        name: What it is called.
        place: ``module:name`` of its function, or of an app that holds it or its group.

    Returns:
        The command, which may be a group, as typer makes it.
    """
    found = pkgutil.resolve_name(place)
    if not isinstance(found, typer.Typer):
        app = plain_app()
        app.command(name)(found)
        found = app
    return typer.main.get_command(found)


class LazyGroup(TyperGroup):
    """A group that imports a command when it is run or its help is shown.

    Attributes:
        places: What `load_command` takes, by the commands' names.
    """

    places: Mapping[str, str] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """List the names of all commands."""
        return list(self.places)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; None if there is none."""
        wanted = [cmd_name] if cmd_name in self.places else self.places  # the refusal names the nearest of all
        for name in wanted:
            if name not in self.commands:
                self.commands[name] = load_command(name, self.places[name])
        return self.commands.get(cmd_name)
