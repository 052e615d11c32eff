"""``ait serve`` and ``ait key``: run the service, and make keys for it."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ait_cli.lazy_group import plain_app
from ait_cli.output import fail

app = plain_app()


class Scope(StrEnum):
    """What a key may do with memories; each may do what those before it may."""

    recall = "recall"
    teach = "teach"
    admin = "admin"


class ServeCommand(TyperCommand):
    """A command whose ``--help`` explains every setting of the service, read from it only when asked for."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the settings and their defaults."""
        from service.settings import Settings

        rows = []
        for field in Settings.model_fields.values():
            name, _, text = (field.description or "").partition(": ")
            rows.append((name, text if field.default is None else f"{text} [default: {field.default}]"))
        with formatter.section("Environment variables, which may also stand in a file .env"):
            formatter.write_dl(rows)


@app.command(cls=ServeCommand)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port, 0 for any free one; default: PORT, else 8000.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Folder or bundled model; default: AIT_MODEL, else the one that `ait models` says is used."),
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Folder of models, each in <model>/<version>/; default: AIT_MODELS.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes; default: AIT_WORKERS, else 1.")] = None,
) -> None:
    """Answer HTTP requests with models, and show a page to try them."""
    # NumPy reads it when it is imported. The threads that it would start to share a small product go on looking for
    # the next one for longer than that takes, which keeps the processors from the models.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from service.server.run import serve as serve_http

    if model and len(model) > 1:
        fail("--model names one model. To serve several, put them into a folder and name that with --models.")
    raise typer.Exit(serve_http(host, port, model[0] if model else None, models, workers))


def key(
    name: Annotated[
        str, typer.Argument(help="Who will use the key; admin for the key that may load and unload models.")
    ],
    rate: Annotated[float | None, typer.Option(help="Requests per second; default: unlimited.")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once; default: as many as in a second.")] = None,
    scope: Annotated[Scope | None, typer.Option(help="What the key may do with memories; default: recall.")] = None,
) -> None:
    """Make an API key, and the line that tells the service about it.

    The key itself goes to stderr and is shown only now; the line, with the key's SHA-256, goes to stdout.
    """
    from service.auth.keys import ADMIN, KeysError, new_key, parse_keys

    if burst is not None and rate is None:
        fail("--burst goes with --rate: without one, nothing is limited.")
    secret, digest = new_key()
    limits = [] if rate is None else [f"{rate:g}"] if burst is None else [f"{rate:g}", str(burst)]
    line = " ".join([name, digest, *limits, *([scope] if scope else [])])
    if name == ADMIN:
        line = f"AIT_ADMIN_KEY_SHA256={digest}"
    else:
        try:
            parse_keys(line, "the key")
        except KeysError:
            fail(
                f"{name!r} cannot be a key's name, or the rate is not above 0: a name has letters, digits and . _ @ -."
            )
    typer.echo(f"key, shown only now:      {secret}", err=True)
    typer.echo(line)
