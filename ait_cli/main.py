"""The ``ait`` command and the table of its commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, Final, NoReturn

import typer

from ait_cli.lazy_group import LazyGroup, load_command, plain_app

COMMANDS: Final = {
    "train": "ait_cli.train:app",
    "tune": "ait_cli.tune:tune",
    "evaluate": "ait_cli.measurement.evaluate:evaluate",
    "compare": "ait_cli.measurement.compare:compare",
    "calibrate": "ait_cli.measurement.evaluate:calibrate",
    "exemplars": "ait_cli.measurement.evaluate:exemplars",
    "audit": "ait_cli.inspection.audit:audit",
    "correct": "ait_cli.teaching.correct:correct",
    "predict": "ait_cli.predict:predict",
    "inspect": "ait_cli.inspection.inspect:inspect",
    "capacity": "ait_cli.inspection.capacity:capacity",
    "export": "ait_cli.export:export",
    "models": "ait_cli.models:models",
    "reproduce": "ait_cli.reproduce:reproduce",
    "serve": "ait_cli.serve:app",
    "key": "ait_cli.serve:key",
    "memory": "ait_cli.teaching.memory:app",
    "bench": "ait_cli.measurement.bench:app",
}


class _Commands(LazyGroup):
    """The commands of ``ait``."""

    places = COMMANDS


app = plain_app(
    help="AiT: train image classifiers with an associative memory, look into them, and serve them.",
    cls=_Commands,
    no_args_is_help=True,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ait {version('associative-transformer')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run ``ait`` with the arguments of this process."""
    _run(app)


def run_command(name: str, prog_name: str) -> None:
    """Run one command of ``ait`` with the arguments of this process, for ``python -m``.

    Args:
        name: The command, such as ``serve``.
        prog_name: What usage and errors call it, such as ``python -m service``.
    """
    _run(load_command(name, COMMANDS[name]).main, prog_name=prog_name)


def _run(command: Callable[..., Any], **options: Any) -> None:
    """Run a command; end with what to install where it needs a package of an extra that was not."""
    try:
        command(**options)
    except ModuleNotFoundError as error:
        _tell_what_to_install(error)


def _tell_what_to_install(error: ModuleNotFoundError) -> NoReturn:
    """Name the package that is missing, and end; an error of our own is raised."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "ait", "ait_cli", "ait_lite", "service", "training"):
        raise error
    typer.echo(
        f"error: this needs {package}, which is not installed: pip install 'associative-transformer[all]'", err=True
    )
    sys.exit(1)


if __name__ == "__main__":
    main()
