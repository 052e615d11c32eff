"""The ``ait`` command. Each subcommand is a thin layer over a function that Python users can call."""

import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

app = typer.Typer(
    help="AiT: train image classifiers with an associative memory, look into them, and serve them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="Measure speed as a share of what the machine can do.", no_args_is_help=True)
app.add_typer(bench, name="bench")


class _TrainCommand(TyperCommand):
    """Explains every recipe key under ``--help``, without loading the trainer for other commands."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from training.__main__ import EXIT_CODES
        from training.recipe.loading import bundled_recipes, recipe_help

        formatter.write(
            f"\n{EXIT_CODES}\n\nBundled recipes: {', '.join(bundled_recipes())}\n\nRecipe keys:\n\n{recipe_help()}\n"
        )


_Checkpoint = Annotated[str, typer.Argument(help="Folder of a checkpoint, or the name of a bundled model.")]


class Phase(StrEnum):
    """What `ait bench model` times."""

    forward = "forward"
    train = "train"


class Caching(StrEnum):
    """Where `ait bench training` takes images from."""

    none = "none"
    ram = "ram"
    device = "device"


class ExportFormat(StrEnum):
    """What `ait export` writes."""

    pt2 = "pt2"
    onnx = "onnx"
    hub = "hub"


class Precision(StrEnum):
    """Number formats of `ait bench model`."""

    fp32 = "fp32"
    bf16 = "bf16"


class Rival(StrEnum):
    """Other servers that `ait bench service` can measure."""

    litserve = "litserve"
    ray = "ray"


@app.command(cls=_TrainCommand)
def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a bundled recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe keys to replace.")
    ] = None,
    resume: Annotated[
        Literal["never", "auto"],
        typer.Option(help="auto continues the run in the output folder, and starts it where there is none."),
    ] = "never",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print model, data sizes, steps and schedule; train nothing.")
    ] = False,
) -> None:
    """Train an image classifier on a folder of class folders of images."""
    from training.__main__ import main as train_from_recipe

    train_from_recipe(recipe, overrides, resume, dry_run)


@app.command()
def evaluate(
    checkpoint: _Checkpoint,
    data: Annotated[
        Path | None,
        typer.Argument(help="Class folders of images, or a folder with val/ or test/ in it; or what --source says."),
    ] = None,
    source: Annotated[
        str, typer.Option(help="What DATA is, as a recipe's data.source; triangle needs no DATA.")
    ] = "folder",
    only: Annotated[
        Path | None, typer.Option(help="Text file of the images to use, such as a run's validation.txt.")
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Mean the probabilities of each image and its mirror image.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a report here: report.md and its pictures.", metavar="FOLDER")
    ] = None,
    confusion: Annotated[Path | None, typer.Option(help="Draw the confusion matrix here (PNG).")] = None,
    reliability: Annotated[Path | None, typer.Option(help="Draw accuracy against confidence here (PNG).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a checkpoint on every image of a folder."""
    from rich.console import Console

    from ait.pretrained import bundled_models
    from training.errors import CheckpointError, DataError
    from training.evaluation.evaluate import evaluate as evaluate_checkpoint

    progress = Console(stderr=True)
    try:
        result = evaluate_checkpoint(
            bundled_models().get(checkpoint, Path(checkpoint)),
            data,
            source=source,
            only=only,
            flip=flip,
            confusion_png=confusion,
            reliability_png=reliability,
            report=report,
            console=progress,
        )
    except (CheckpointError, DataError) as error:
        _fail(str(error))
    if as_json:
        typer.echo(
            json.dumps({"checkpoint": checkpoint, "data": str(data), "flip": flip} | result.to_json(), indent=2)
        )
    else:
        from training.evaluation.report.console import print_result

        print_result(result, Console())
    for path in (report and report / "report.md", confusion, reliability):
        if path is not None:
            progress.print(f"written: {path}", soft_wrap=True, highlight=False)


@app.command()
def calibrate(
    checkpoint: _Checkpoint,
    data: Annotated[
        Path,
        typer.Argument(help="Images not trained on: class folders, or a folder with val/ or test/ in it."),
    ],
    only: Annotated[
        Path | None, typer.Option(help="Text file of the images to use, such as a run's validation.txt.")
    ] = None,
) -> None:
    """Fit a temperature, so that confidence is accuracy, and write it into the checkpoint.

    A run does this to its best model by itself. The service divides logits by the temperature; accuracy stays.
    """
    from rich.console import Console

    from ait.pretrained import bundled_models
    from training.errors import CheckpointError, DataError
    from training.evaluation.annotate import calibrate_checkpoint

    folder = bundled_models().get(checkpoint, Path(checkpoint))
    try:
        found = calibrate_checkpoint(folder, data, only=only, console=Console(stderr=True))
    except (CheckpointError, DataError, OSError) as error:
        _fail(str(error))
    typer.echo(
        f"temperature {found.temperature:.4f}, fitted to {found.images} images: calibration error {found.ece:.2%} -> "
        f"{found.ece_at_temperature:.2%}, negative log-likelihood {found.nll:.4f} -> {found.nll_at_temperature:.4f}"
    )
    typer.echo(f"written: {folder / 'config.json'}")


@app.command()
def exemplars(
    checkpoint: _Checkpoint,
    data: Annotated[Path, typer.Argument(help="The training images: class folders, or a folder with train/ in it.")],
    exclude: Annotated[
        Path | None, typer.Option(help="Text file of images to leave out, such as a run's validation.txt.")
    ] = None,
    per_class: Annotated[int, typer.Option(min=1, help="Images a class.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Which images are chosen.")] = 0,
) -> None:
    """Keep some training images beside a checkpoint, as small pictures, for the service to explain by example.

    A run does this to its best model by itself.
    """
    from rich.console import Console

    from ait.interpret.exemplars import FILE
    from ait.pretrained import bundled_models
    from training.errors import CheckpointError, DataError
    from training.evaluation.annotate import add_exemplars

    folder = bundled_models().get(checkpoint, Path(checkpoint))
    try:
        kept = add_exemplars(folder, data, exclude=exclude, count=per_class, seed=seed, console=Console(stderr=True))
    except (CheckpointError, DataError, OSError) as error:
        _fail(str(error))
    if not kept:
        _fail(f"{checkpoint}: it has too many classes for a file with an image of each.")
    path = folder / FILE
    typer.echo(f"written: {path} ({kept} images, {path.stat().st_size / 1e6:.2f} MB)")


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG or WebP files.")],
    model: Annotated[
        str | None, typer.Option(help="Folder or bundled model; left out: AIT_MODEL, else the bundled one.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Labels an image.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Classify images, with the same answers as the service gives."""
    from service.predict import iter_predictions
    from service.repository.folders import ModelError
    from service.settings import SettingsError

    failed = False
    try:
        for prediction in iter_predictions(images, model, top_k):
            failed |= prediction.error is not None
            if as_json:
                labels = [{"label": name, "score": score} for name, score in prediction.labels]
                record = {"path": str(prediction.path), "labels": labels, "error": prediction.error}
                typer.echo(json.dumps(record))
            elif prediction.error is not None:
                typer.echo(prediction.error, err=True)
            else:
                shares = "  ".join(f"{name} {score:.1%}" for name, score in prediction.labels)
                typer.echo(f"{prediction.path}: {shares}")
    except (ModelError, SettingsError) as error:
        _fail(str(error))
    if failed:
        raise typer.Exit(1)


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(help="Folder of an AiT checkpoint, or the name of a bundled model.")],
    image: Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The PNG; left out: IMAGE's name with .memory.png.")
    ] = None,
) -> None:
    """Draw what a model's memory does on an image: energies, recalled priors, ranks."""
    from timm.data import create_transform, resolve_model_data_config

    from ait.associative_transformer import AssociativeTransformer
    from ait.interpret.draw import draw_memory
    from ait.interpret.memory_report import describe
    from ait.pretrained import load_model
    from ait_lite.decode import ImageError, ImageLimits, decode

    try:
        loaded = load_model(model)
        picture = decode(image.read_bytes(), ImageLimits())
    except FileNotFoundError as error:
        _fail(str(error))
    except ImageError as error:
        _fail(f"{image}: {error}")
    except OSError as error:
        _fail(f"{image}: cannot be read ({error}).")
    if not isinstance(loaded, AssociativeTransformer):
        _fail(f"{model}: {type(loaded).__name__} has no associative memory to draw; use an ait_* checkpoint.")
    transform = create_transform(**resolve_model_data_config(loaded), is_training=False)
    target = output or image.with_suffix(".memory.png")
    labels = (getattr(loaded, "pretrained_cfg", None) or {}).get("label_names")
    report = draw_memory(loaded, picture, transform(picture).unsqueeze(0), target, labels)
    typer.echo(describe(report))
    typer.echo(f"drawn: {target}")


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help="Folder of a checkpoint, a bundled model, or a timm model with pretrained weights.")
    ],
    output: Annotated[Path, typer.Argument(help="The .pt2 or .onnx file, or the folder for the hub.")],
    format_: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="torch.export, ONNX or a hub folder; left out: by OUTPUT's ending."),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Image, or folder of images, to compare on; repeatable; left out: made pictures."),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="pt2, onnx: give probabilities in place of logits.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="pt2, onnx: largest difference, as a share of the largest output.")
    ] = 1e-4,
    license_: Annotated[
        str | None, typer.Option("--license", help="hub: licence for the model card, such as apache-2.0.")
    ] = None,
) -> None:
    """Write a model for other runtimes or the hub, after comparing the file's answers with the model's."""
    kind = format_ or next((kind for kind in ExportFormat if output.suffix == f".{kind}"), None)
    if kind is None:
        _fail(f"{output}: the ending names no format; end it in .pt2 or .onnx, or pass --format hub for a folder.")
    if kind is not ExportFormat.hub and output.suffix != f".{kind}":
        _fail(f"{output}: a file of the format {kind} ends in .{kind}.")
    if kind is ExportFormat.hub and probabilities:
        _fail("--probabilities: a hub folder holds the model itself, which gives logits.")
    if kind is not ExportFormat.hub and license_ is not None:
        _fail(f"--license: a {kind} file has no model card; it goes with --format hub.")

    from safetensors import SafetensorError

    from ait.export.program import ExportError, export_hub, export_onnx, export_program
    from ait.export.sample_images import read_images
    from ait.pretrained import checkpoint_config, checkpoint_metrics, checkpoint_temperature, load_model

    try:
        loaded = load_model(model)
    except FileNotFoundError as error:
        _fail(str(error))
    except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        _fail(f"{model}: cannot be loaded ({error}).")
    try:
        pixels = read_images(loaded, images) if images else None
        temperature = checkpoint_temperature(checkpoint_config(model))
        if kind is ExportFormat.hub:
            metrics = checkpoint_metrics(model)
            result = export_hub(loaded, output, pixels, license=license_, metrics=metrics, temperature=temperature)
        else:
            write = export_program if kind is ExportFormat.pt2 else export_onnx
            result = write(
                loaded, output, pixels, probabilities=probabilities, temperature=temperature, tolerance=tolerance
            )
    except (ExportError, FileNotFoundError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{output}: cannot be written ({error}).")
    if pixels is None:
        typer.echo("compared on made pictures; pass --images to compare on real ones")
    typer.echo(f"compared: {result.agreement}")
    typer.echo(f"written: {result.path} ({result.size / 1e6:.2f} MB)")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; else PORT, else 8000.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or bundled model; else AIT_MODEL, else the bundled one.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Folder of models, each in <model>/<version>/; else AIT_MODELS.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes; else AIT_WORKERS, else 1.")] = None,
) -> None:
    """Answer HTTP requests with models, and show a page to try them."""
    from service.server.run import serve as serve_http

    raise typer.Exit(serve_http(host, port, model, models, workers))


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Who it is for; admin, for the key that may load and unload models.")],
    rate: Annotated[float | None, typer.Option(help="Requests a second; else unlimited.")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once; else those of a second.")] = None,
) -> None:
    """Make an API key for the service: the key, for whoever asks, and what the server is to know of it."""
    from service.auth.keys import ADMIN, new_key, parse_keys
    from service.settings import SettingsError

    secret, digest = new_key()
    limits = [] if rate is None else [f"{rate:g}"] if burst is None else [f"{rate:g}", str(burst)]
    line = " ".join([name, digest, *limits])
    if name == ADMIN:
        line = f"AIT_ADMIN_KEY_SHA256={digest}"
    else:
        try:
            parse_keys(line, "the command line")
        except SettingsError as error:
            _fail(str(error))
    typer.echo(f"key, shown only now:      {secret}", err=True)
    typer.echo(line)


@bench.command("model")
def bench_model(
    name: Annotated[str, typer.Argument(help="A registered ait_* model.")] = "ait_small_patch4_32",
    batch_size: Annotated[list[int] | None, typer.Option(min=1, help="Images a step; repeatable.")] = None,
    precision: Annotated[list[Precision] | None, typer.Option(help="Repeatable.")] = None,
    phase: Annotated[list[Phase] | None, typer.Option(help="Repeatable.")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Time a case and model.")] = 4.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    compile_model: Annotated[bool, typer.Option("--compile", help="Time under torch.compile.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write JSON here too.")] = None,
) -> None:
    """Time an AiT model and a timm ViT of its size against the machine's matrix products."""
    from rich.console import Console

    from ait.allocator import keep_freed_memory
    from ait.benchmark import benchmark_model

    keep_freed_memory()
    progress = Console(stderr=True)
    try:
        with progress.status("starting") as status:
            result = benchmark_model(
                name,
                batch_size or [1, 32],
                [str(value) for value in precision or list(Precision)],
                [str(value) for value in phase or list(Phase)],
                seconds,
                device=device,
                compile_model=compile_model,
                on_case=status.update,
            )
    except (RuntimeError, ValueError) as error:
        _fail(str(error))
    Console(width=110).print(_benchmark_table(result.to_dict()))
    if output is not None:
        output.write_text(json.dumps(result.to_dict(), indent=2) + "\n")


@bench.command("training")
def bench_training(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a bundled recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe keys to replace.")
    ] = None,
    caching: Annotated[
        list[Caching] | None, typer.Option(help="Ways to keep the images; repeatable; left out: all.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Time a way, spread over the rounds.")] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that the ways take.")] = 5,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write JSON here too.")] = None,
) -> None:
    """Time a recipe's training against its model's updates of one ready batch."""
    from rich.console import Console

    from training.benchmark.throughput import CACHINGS, benchmark_training
    from training.errors import DataError, RecipeError
    from training.recipe.loading import load_recipe

    progress = Console(stderr=True)
    wanted = tuple(name for name in CACHINGS if caching is None or name in caching)
    try:
        with progress.status("starting") as status:
            result = benchmark_training(
                load_recipe(recipe, overrides or []), wanted, seconds, rounds, progress, on_case=status.update
            )
    except (DataError, RecipeError) as error:
        _fail(str(error))
    Console(width=110).print(_training_table(result.to_dict()))
    if output is not None:
        output.write_text(json.dumps(result.to_dict(), indent=2) + "\n")


@bench.command("service")
def bench_service(
    model: Annotated[
        str | None,
        typer.Argument(help="Folder, bundled model, or a timm name for random weights; left out: the bundled one."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of JPEG files to send; left out: made ones.")] = None,
    url: Annotated[
        str | None, typer.Option(help="A service that runs already, with that model; left out: one is started.")
    ] = None,
    against: Annotated[
        list[Rival] | None, typer.Option(help="Measure the same model behind this too; repeatable; needs [bench].")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, help="Requests in flight at saturation.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time of a load.")] = 4.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each server is measured.")] = 5,
    soak: Annotated[int, typer.Option(min=0, help="Requests to send for a look at the memory; 0 is none.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write JSON here too.")] = None,
) -> None:
    """Drive the service over HTTP and compare it with decoding and running the model without a server."""
    from rich.console import Console

    from service.benchmark.benchmark import benchmark_service
    from service.benchmark.images import PicturesError
    from service.benchmark.plain_loop import RawError
    from service.benchmark.systems import ServerError
    from service.benchmark.table import print_benchmark
    from service.repository.folders import ModelError

    progress = Console(stderr=True)
    # The servers that it started are stopped on the way out.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with progress.status("starting") as status:
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
                progress=status.update if progress.is_terminal else progress.print,
            )
    except (ModelError, PicturesError, RawError, ServerError) as error:
        _fail(str(error))
    finally:
        signal.signal(signal.SIGTERM, before)
    print_benchmark(result, Console(width=110))
    if output is not None:
        output.write_text(json.dumps(result.to_dict(), indent=2) + "\n")


def _training_table(result: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(
        title=f"{result['model']}, batch {result['batch_size']}, {result['precision']}, {result['device']}, "
        f"{result['threads']} threads, {result['workers']} workers"
    )
    for column in ("images from", "images/s", "of the synthetic rate"):
        table.add_column(column, justify="left" if column == "images from" else "right")
    for case in result["throughputs"]:
        table.add_row(case["feed"], f"{case['images_per_second']:.1f}", f"{case['share']:.3f}")
    return table


def _benchmark_table(result: dict[str, Any]) -> Any:
    from rich.table import Table

    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in result["gemm_gflops"].items())
    table = Table(title=f"{result['device']}, {result['threads']} threads; best matrix product: {rates}")
    for column in ("model", "phase", "precision", "batch", "images/s", "GFLOP/image", "of GEMM rate"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for case in result["measurements"]:
        table.add_row(
            case["model"],
            case["phase"],
            case["precision"],
            str(case["batch_size"]),
            f"{case['images_per_second']:.1f}",
            f"{case['gflop_per_image']:.2f}",
            f"{case['gemm_fraction']:.2f}",
        )
    return table


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
