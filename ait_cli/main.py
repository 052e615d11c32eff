"""The ``ait`` command and the table of its commands."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from ait_cli.export import export
from ait_cli.inspection.audit import audit
from ait_cli.inspection.capacity import capacity
from ait_cli.inspection.inspect import inspect
from ait_cli.measurement.bench import bench_memory, bench_model, bench_predict, bench_service, bench_training
from ait_cli.measurement.compare import compare
from ait_cli.measurement.evaluate import calibrate, evaluate, exemplars
from ait_cli.models import models
from ait_cli.predict import predict
from ait_cli.reproduce import reproduce
from ait_cli.serve import ServeCommand, key, serve
from ait_cli.teaching.correct import correct
from ait_cli.teaching.memory import memory
from ait_cli.train import TrainCommand, train
from ait_cli.tune import tune

app = typer.Typer(
    help="AiT: train image classifiers with an associative memory, look into them, and serve them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(
    help="Measure speed as a share of what the machine can do.", no_args_is_help=True, rich_markup_mode=None
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


app.command(cls=TrainCommand)(train)
app.command()(tune)
app.command()(evaluate)
app.command()(compare)
app.command()(calibrate)
app.command()(exemplars)
app.command()(audit)
app.command()(correct)
app.command()(predict)
app.command()(inspect)
app.command()(capacity)
app.command()(export)
app.command()(models)
app.command()(reproduce)
app.command(cls=ServeCommand)(serve)
app.command()(key)
app.add_typer(memory, name="memory")
app.add_typer(bench, name="bench")
bench.command("model")(bench_model)
bench.command("training")(bench_training)
bench.command("predict")(bench_predict)
bench.command("service")(bench_service)
bench.command("memory")(bench_memory)


def main() -> None:
    """Run ``ait`` with the arguments of this process."""
    try:
        app()
    except ModuleNotFoundError as error:
        _tell_what_to_install(error)


def run_command(name: str, prog_name: str) -> None:
    """Run one command of ``ait`` with the arguments of this process, for ``python -m``.

    Args:
        name: The command, such as ``serve``.
        prog_name: What usage and errors call it, such as ``python -m service``.
    """
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    try:
        group.commands[name].main(prog_name=prog_name)
    except ModuleNotFoundError as error:
        _tell_what_to_install(error)


def _tell_what_to_install(error: ModuleNotFoundError) -> NoReturn:
    """End where a command needs a package of an extra that was not installed; an error of our own is raised."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "ait", "ait_cli", "ait_lite", "service", "training"):
        raise error
    typer.echo(
        f"error: this needs {package}, which is not installed: pip install 'associative-transformer[all]'", err=True
    )
    sys.exit(1)


if __name__ == "__main__":
    main()
