"""``ait bench``: measure speed as a share of what the machine can do."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ait_cli.arguments import (
    Layout,
    LayoutOption,
    Overrides,
    Recipe,
    check_device,
    load_classifier,
)
from ait_cli.lazy_group import plain_app
from ait_cli.measurement.bench_server import bench_recall, bench_service
from ait_cli.measurement.tables import memory_tables, model_table, prediction_table, training_table
from ait_cli.output import check_output, fail, progress_bar, write_json


# Enumerations, because typer accepts no option that is a list of literals.
class Precision(StrEnum):
    """Number formats of `ait bench model`."""

    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"


class BenchRuntime(StrEnum):
    """What `ait bench model` runs models in."""

    torch = "torch"
    openvino = "openvino"
    onnxruntime = "onnxruntime"


class Phase(StrEnum):
    """What `ait bench model` times."""

    forward = "forward"
    train = "train"


class Caching(StrEnum):
    """Where `ait bench training` takes images from."""

    none = "none"
    ram = "ram"
    device = "device"


app = plain_app(help="Measure speed as a share of what the machine can do.", no_args_is_help=True)
app.command("service")(bench_service)
app.command("recall")(bench_recall)

_Json = Annotated[Path | None, typer.Option("--output", "-o", help="Write the result to this JSON file too.")]


@app.command("model")
def bench_model(
    name: Annotated[str, typer.Argument(help="A registered ait_* model.")] = "ait_small_patch4_32",
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="Images per step; repeatable; default: 1 and 32.")
    ] = None,
    precision: Annotated[list[Precision] | None, typer.Option(help="Repeatable; default: all.")] = None,
    runtime: Annotated[
        list[BenchRuntime] | None, typer.Option(help="Repeatable; default: all. Only torch trains.")
    ] = None,
    phase: Annotated[list[Phase] | None, typer.Option(help="What to time; repeatable; default: both.")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds per case and model.")] = 4.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    compile_model: Annotated[bool, typer.Option("--compile", help="Time under torch.compile.")] = False,
    output: _Json = None,
) -> None:
    """Time an AiT model and a timm ViT of its size.

    Rates are given as a share of the rate of the machine's fastest matrix products.
    """
    import timm
    from rich.console import Console

    from ait.benchmark import benchmark_model
    from ait.pretrained.names import did_you_mean
    from ait_lite.allocator import keep_freed_memory

    if not timm.is_model(name):
        fail(f"there is no model {name!r}{did_you_mean(name)}; name one such as ait_tiny_patch4_32.")
    check_output(output)
    check_device(device)
    keep_freed_memory()
    progress = Console(stderr=True)
    try:
        with progress.status("starting") as status:
            result = benchmark_model(
                name,
                batch_size or [1, 32],
                [value.value for value in precision or list(Precision)],
                [str(value) for value in phase or Phase],
                seconds,
                device=device,
                compile_model=compile_model,
                runtimes=[str(value) for value in runtime or BenchRuntime],
                on_case=status.update,
            )
    except (RuntimeError, ValueError) as error:
        fail(str(error))
    Console(width=110).print(model_table(result.to_dict()))
    write_json(result.to_dict(), output)


@app.command("training")
def bench_training(
    recipe: Recipe,
    overrides: Overrides = None,
    caching: Annotated[
        list[Caching] | None, typer.Option(help="Where decoded images are kept; repeatable; default: all.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds per kind of caching, over all rounds.")] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which the kinds of caching take turns.")] = 5,
    output: _Json = None,
) -> None:
    """Time training with a recipe's data.

    Rates are given as a share of the rate of training on one batch that is ready in memory.
    """
    from rich.console import Console

    from training.benchmark.throughput import CACHINGS, benchmark_training
    from training.errors import DataError, RecipeError
    from training.recipe.loading import load_recipe

    check_output(output)
    progress = Console(stderr=True)
    wanted = tuple(name for name in CACHINGS if caching is None or name in caching)
    try:
        with progress.status("starting") as status:
            result = benchmark_training(
                load_recipe(recipe, overrides or []), wanted, seconds, rounds, progress, on_case=status.update
            )
    except (DataError, RecipeError) as error:
        fail(str(error))
    Console(width=110).print(training_table(result.to_dict()))
    write_json(result.to_dict(), output)


@app.command("predict")
def bench_predict(
    model: Annotated[
        str, typer.Argument(help="Folder of a checkpoint, or bundled model.", show_default="that of `ait predict`")
    ] = "",
    small: Annotated[int, typer.Option(min=0, help="Files of 32 x 32 pixels; 0 leaves them out.")] = 4000,
    photos: Annotated[int, typer.Option(min=0, help="Files of 1600 x 1200 pixels; 0 leaves them out.")] = 400,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds in which `ait predict` and the plain loop take turns.")
    ] = 3,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    output: _Json = None,
) -> None:
    """Time `ait predict` on generated folders.

    Rates are given beside that of a plain loop, which decodes a batch and then classifies it.
    """
    import tempfile

    from rich.console import Console

    from ait.file_prediction_benchmark import benchmark_prediction
    from ait_lite.allocator import keep_freed_memory
    from ait_lite.checkpoint import default_model

    check_output(output)
    keep_freed_memory()
    progress = Console(stderr=True)
    name = model or default_model() or fail("no model is bundled; name the folder of a checkpoint")
    classifier = load_classifier(name, device)
    with tempfile.TemporaryDirectory() as folder, progress.status("starting") as status:
        rates = benchmark_prediction(classifier, Path(folder), small, photos, rounds, on_case=status.update)
    result = {"model": name, "device": device, "rates": [rate.to_dict() for rate in rates]}
    Console(width=110).print(prediction_table(result))
    write_json(result, output)


@app.command("memory")
def bench_memory(
    model: Annotated[
        str | None, typer.Argument(help="Folder of a checkpoint, or bundled model, to measure accuracy with.")
    ] = None,
    data: Annotated[
        Path | None, typer.Argument(help="Folder with train/, and val/ or test/, to measure accuracy on.")
    ] = None,
    examples: Annotated[
        list[int] | None, typer.Option(min=1, help="Examples to time; repeatable; default: 1000, 20000, 100000.")
    ] = None,
    per_class: Annotated[
        list[int] | None, typer.Option(min=1, help="Examples per class; repeatable; default: 1, 5, 20, 100.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Times to draw examples; means and deviations are told.")] = 5,
    width: Annotated[int, typer.Option(min=1, help="Numbers in a feature vector to time with.")] = 192,
    layout: LayoutOption = Layout.auto,
    output: _Json = None,
) -> None:
    """Time a memory of classes, and measure its accuracy.

    Times are of one thread if OMP_NUM_THREADS=1. With a model and data, the three readouts stand beside a linear probe
    on the same features, and a fifth of the classes is held out in turn: how many of their images are called unknown,
    where 5 % of the others may be.
    """
    from rich.console import Console

    from training.benchmark.memory_accuracy import draw_features, measure_accuracy, measure_unknown
    from training.benchmark.memory_speed import time_memory
    from training.errors import CheckpointError, DataError

    if (model is None) != (data is None):
        fail("accuracy needs both a model and a data folder.")
    check_output(output)
    result: dict[str, Any] = {"speed": [], "accuracy": [], "unknown": None}
    # First what may not be there.
    if model is not None and data is not None:
        counts = per_class or [1, 5, 20, 100]
        try:
            with progress_bar("embedding") as progress:
                drawn = draw_features(model, data, max(counts), draws=draws, layout=layout.value, progress=progress)
        except (CheckpointError, DataError, FileNotFoundError) as error:
            fail(str(error))
        result["accuracy"] = [asdict(each) for each in measure_accuracy(drawn, counts)]
        unknown = measure_unknown(drawn, max(counts))
        result["unknown"] = unknown and asdict(unknown)
    result["speed"] = [asdict(time_memory(count, width)) for count in examples or (1_000, 20_000, 100_000)]
    for table in memory_tables(result):
        Console(width=110).print(table)
    write_json(result, output)
