"""``ait export``: write a model for other runtimes, for a server without torch, or for the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from ait_cli.arguments import load_model
from ait_cli.output import fail

if TYPE_CHECKING:
    from ait_lite.runtimes import PreparedModel

ExportFormat = Literal["pt2", "onnx", "hub", "serving"]


def export(
    model: Annotated[
        str,
        typer.Argument(help="Folder of a checkpoint, bundled model, or timm model with pretrained weights."),
    ],
    output: Annotated[Path, typer.Argument(help="The .pt2 or .onnx file, or the folder for the hub or a server.")],
    format_: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format",
            help="torch.export, ONNX, a hub folder, or a checkpoint folder that is served without torch; "
            "default: by the ending of OUTPUT.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Image, or folder of images, to compare on, for a server also to calibrate int8 with; repeatable; "
            "default: generated images, for a server also the checkpoint's exemplars."
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="pt2, onnx: output probabilities instead of logits.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="pt2, onnx: largest accepted difference, relative to the largest output.")
    ] = 1e-4,
    license_: Annotated[
        str | None, typer.Option("--license", help="hub: licence for the model card, such as apache-2.0.")
    ] = None,
) -> None:
    """Export a model to files that other programs use.

    For other runtimes, for a server without torch, or for the Hugging Face hub. The exported model's answers are
    compared with the original's; if they differ too much, nothing is kept.
    """
    kind = _format(format_, output, probabilities, license_)

    from ait.export import ExportError, export_hub, export_onnx, export_program, export_serving
    from ait.export.sample_images import read_images
    from ait_lite.checkpoint import CONFIG, read_config, read_temperature, resolve

    loaded = load_model(model)
    try:
        folder = resolve(model)
        config = read_config(folder) if (folder / CONFIG).is_file() else {}
        temperature = read_temperature(config)
        if kind == "serving":
            _tell(export_serving(loaded, folder, output, images=images or ()))
            return
        pixels = read_images(loaded, images) if images else None
        if kind == "hub":
            result = export_hub(
                loaded, output, pixels, license=license_, metrics=config.get("metrics"), temperature=temperature
            )
        else:
            write = export_program if kind == "pt2" else export_onnx
            result = write(
                loaded, output, pixels, probabilities=probabilities, temperature=temperature, tolerance=tolerance
            )
    except (ExportError, FileNotFoundError, ValueError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output}: cannot be written ({error}).")
    if pixels is None:
        typer.echo("compared on generated images; pass --images to compare on real ones")
    typer.echo(f"compared: {result.agreement}")
    typer.echo(f"written: {result.path} ({result.size / 1e6:.2f} MB)")


def _tell(prepared: PreparedModel) -> None:
    """Print what a folder for a server holds."""
    from ait_lite.runtimes import Agreement

    for name, found in prepared.agreement.items():
        typer.echo(f"compared, {name}: {Agreement(**found)}")
    if prepared.graph("int8") is None:
        typer.echo("no int8 graph: none answers as the model does, or onnxruntime is not installed")
    size = sum(file.stat().st_size for file in prepared.folder.iterdir())
    typer.echo(f"written: {prepared.folder} ({size / 1e6:.2f} MB)")


def _format(asked: ExportFormat | None, output: Path, probabilities: bool, license_: str | None) -> ExportFormat:
    """Decide the format, or end the command where options contradict each other."""
    kind = asked or next((kind for kind in get_args(ExportFormat) if output.suffix == f".{kind}"), None)
    if kind is None:
        fail(
            f"{output}: the ending names no format; end it in .pt2 or .onnx, or pass --format hub or "
            "--format serving for a folder."
        )
    folder = kind in ("hub", "serving")
    if folder and probabilities:
        fail(f"--probabilities: a {kind} folder holds the model itself, which gives logits.")
    if not folder and output.suffix != f".{kind}":
        fail(f"{output}: a file of the format {kind} ends in .{kind}.")
    if kind != "hub" and license_ is not None:
        fail(f"--license: the format {kind} has no model card; it goes with --format hub.")
    return kind
