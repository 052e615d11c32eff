"""``ait bench service`` and ``ait bench recall``: measure servers over HTTP."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import ServingPrecision, ServingRuntime
from ait_cli.output import check_output, fail, write_json


class Rival(StrEnum):
    """Other servers that `ait bench service` can measure."""

    onnxruntime = "onnxruntime"
    litserve = "litserve"
    ray = "ray"


_Model = Annotated[
    str | None,
    typer.Argument(
        help="Folder, bundled model, or a timm name for random weights; "
        "default: the one that `ait models` says is used."
    ),
]
_Images = Annotated[Path | None, typer.Option(help="Folder of JPEG files to send; default: generated ones.")]
_Connections = Annotated[int, typer.Option(min=1, help="Requests in flight at saturation.")]
_Seconds = Annotated[float, typer.Option(min=0.1, help="Seconds per load.")]
_Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
_Runtime = Annotated[ServingRuntime, typer.Option(help="Runtime of the model, for every server.")]
_Precision = Annotated[ServingPrecision, typer.Option(help="Number format, for every server that has it.")]
_Json = Annotated[Path | None, typer.Option("--output", "-o", help="Write the result to this JSON file too.")]


def bench_service(
    model: _Model = None,
    images: _Images = None,
    url: Annotated[
        str | None,
        typer.Option(help="Address of a running service that has this model; default: one is started."),
    ] = None,
    against: Annotated[
        list[Rival] | None,
        typer.Option(help="Measure the same model behind this server too; repeatable; needs the extra bench."),
    ] = None,
    connections: _Connections = 64,
    seconds: _Seconds = 4.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which the servers take turns.")] = 5,
    soak: Annotated[int, typer.Option(min=0, help="Requests to send to see whether memory grows; 0 sends none.")] = 0,
    device: _Device = "auto",
    runtime: _Runtime = ServingRuntime.auto,
    precision: _Precision = ServingPrecision.fp32,
    output: _Json = None,
) -> None:
    """Time the service over HTTP.

    Rates are given as a share of the rate of decoding images and running the model without a server, in the same
    runtime. Each row names the runtime and the number format of its server: ONNX Runtime has no bf16.
    """
    from rich.console import Console

    from service.benchmark.benchmark import benchmark_service
    from service.benchmark.table import print_benchmark

    check_output(output)
    with _measuring() as progress:
        result = benchmark_service(
            model,
            images=images,
            url=url,
            against=[str(name) for name in against or ()],
            connections=connections,
            seconds=seconds,
            rounds=rounds,
            soak_requests=soak,
            device=device,
            runtime=runtime.value,
            precision=precision.value,
            progress=progress,
        )
    print_benchmark(result, Console(width=110))
    write_json(result.to_dict(), output)


def bench_recall(
    model: _Model = None,
    images: _Images = None,
    examples: Annotated[int, typer.Option(min=1, help="Examples that the memory holds.")] = 20_000,
    connections: _Connections = 64,
    seconds: _Seconds = 4.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which the two take turns.")] = 5,
    device: _Device = "auto",
    runtime: _Runtime = ServingRuntime.auto,
    precision: _Precision = ServingPrecision.fp32,
    output: _Json = None,
) -> None:
    """Time answers from a memory of classes over HTTP.

    One server answers images from a memory and classifies them, in turns: how much of the throughput is left at
    saturation, and how much longer a lone question takes.
    """
    from rich.console import Console

    from service.benchmark.recall import benchmark_recall
    from service.benchmark.table import print_recall

    check_output(output)
    with _measuring() as progress:
        result = benchmark_recall(
            model,
            images=images,
            examples=examples,
            connections=connections,
            seconds=seconds,
            rounds=rounds,
            device=device,
            runtime=runtime.value,
            precision=precision.value,
            progress=progress,
        )
    print_recall(result, Console(width=110))
    write_json(result.to_dict(), output)


@contextmanager
def _measuring() -> Iterator[Callable[[str], None]]:
    """Show what is being measured; stop the servers that were started, however it ends."""
    from rich.console import Console

    from service.benchmark.images import ImagesError
    from service.benchmark.plain_loop import PlainLoopError
    from service.benchmark.systems import ServerError
    from service.repository.folders import ModelError

    console = Console(stderr=True)
    # Turned into an exception, so that the servers that were started are stopped on the way out.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with console.status("starting") as status:
            yield status.update if console.is_terminal else console.print
    except (ModelError, ImagesError, PlainLoopError, ServerError) as error:
        fail(str(error))
    finally:
        signal.signal(signal.SIGTERM, before)
