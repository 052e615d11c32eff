"""Write the graph that inference libraries run: an ONNX file with logits and features."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from ait.export.agreement import ExportError
from ait.export.prepare import dynamic_batch, prepare, quiet, trace
from ait.export.quantise import CALIBRATION, quantise
from ait.export.sample_images import made_images
from ait.interpret.embedding import embed_and_classify
from ait.interpret.exemplars import ExemplarError, load_exemplars
from ait.preprocessing import data_config_of
from ait_lite.checkpoint import EXEMPLARS
from ait_lite.images.crop import Cropping
from ait_lite.images.decode import decode
from ait_lite.images.errors import ImageError
from ait_lite.images.limits import ImageLimits
from ait_lite.images.normalise import Normalising
from ait_lite.runtimes import (
    GRAPH_RUNTIMES,
    Agreement,
    Answering,
    Outputs,
    PreparedModel,
    Reference,
    RuntimeUnavailable,
    check_available,
    compare_graph,
    open_graph,
    read_prepared,
)
from ait_lite.runtimes.prepared import GRAPH, QUANTISED, write_prepared

# Protocol buffers, the format of ONNX files, end there.
MOST_ONNX_BYTES: Final = 2**31
_MADE: Final = 64  # images
_MOST_EXEMPLARS: Final = 256
_MOST_BYTES: Final = 20_000_000  # of the images that graphs are compared on
_BATCH: Final = 16
_LIBRARIES: Final = ("associative-transformer", "torch", "timm", "onnx", "onnxscript", "onnxruntime", "openvino")


def missing_packages() -> list[str]:
    """List the packages that writing graphs needs and that are not installed."""
    return [package for package in ("onnx", "onnxscript") if find_spec(package) is None]


def library_versions() -> dict[str, str]:
    """Tell the versions of the libraries that graphs depend on; those that are not installed are left out."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_graphs(
    model: nn.Module,
    folder: Path,
    checkpoint: Path | None = None,
    *,
    weights: str = "",
    answering: Answering | None = None,
    int8: bool = False,
    images: np.ndarray | None = None,
) -> PreparedModel:
    """Write a prepared model: graph, reference and manifest. Every graph has been compared in every runtime there is.

    Args:
        model: A timm classifier; it is left as it is.
        folder: Is there, and takes the files.
        checkpoint: Folder whose exemplars the graphs are compared on, where it has any, besides made images.
        weights: SHA-256 of the model's weights.
        answering: What is made of logits; None is a softmax without a temperature.
        int8: Whether to quantise, where ONNX Runtime is installed; a graph whose answers are too different is left
            out, and its agreement tells.
        images: To compare on in place of exemplars, uint8 (N, C, H, W); made ones only fill up what is missing.

    Raises:
        ExportError: A package is missing, the model cannot be exported, or no runtime answers as it does.
        OSError: A file cannot be written.
    """
    if missing := missing_packages():
        raise ExportError(
            f"a graph needs {' and '.join(missing)}: pip install 'associative-transformer[export]' installs them."
        )
    answering = answering or Answering()
    eager, _ = prepare(model, torch.zeros(0), probabilities=False)
    compared, photographs = reference_images(eager, checkpoint, images)
    config = data_config_of(model)
    pixels = Normalising(config)(compared)
    both, expected = _with_features(eager, torch.from_numpy(pixels))
    _write_onnx(both, torch.from_numpy(pixels[:1]), folder / GRAPH, features=expected.features is not None)
    agreement = _compared(folder / GRAPH, "fp32", pixels, expected, answering)
    if not any(found.enough("fp32") for found in agreement.values()):
        raise ExportError(f"the graph does not answer as the model does: {_told(agreement)}.")
    agreement |= _compared(folder / GRAPH, "bf16", pixels, expected, answering)
    if int8 and find_spec("onnxruntime") is not None:
        # Photographs show ranges of activations that made images do not: these only fill up what is missing.
        order = np.argsort(~photographs, kind="stable")[:CALIBRATION]
        quantise(folder / GRAPH, folder / QUANTISED, pixels, expected, answering, calibration=pixels[order])
        agreement |= _compared(folder / QUANTISED, "int8", pixels, expected, answering)
        if not any(found.enough("int8") for name, found in agreement.items() if name.endswith("int8")):
            (folder / QUANTISED).unlink()
    prepared = PreparedModel(
        folder=folder,
        num_classes=expected.logits.shape[1],
        num_features=0 if expected.features is None else expected.features.shape[1],
        data_config=config,
        weights=weights,
        made_with=library_versions(),
        agreement={name: found.to_dict() for name, found in agreement.items()},
    )
    write_prepared(prepared, Reference(compared, expected))
    return read_prepared(folder, weights=weights)


def most_images(model: nn.Module) -> int:
    """Tell how many images graphs of a model are compared on at most."""
    return max(_BATCH, _MOST_BYTES // int(np.prod(data_config_of(model)["input_size"])))


def reference_images(
    model: nn.Module, checkpoint: Path | None, images: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Gather inputs to compare on: made images and exemplars in turn; or images that are given, and made ones.

    Args:
        model: A timm model.
        checkpoint: Its folder; None has no exemplars.
        images: Images that were chosen, uint8 (N, C, H, W); made ones follow only where they are few.

    Returns:
        Images, uint8 (N, C, H, W), and which of them are exemplars or were chosen, bool (N,).
    """
    config = data_config_of(model)
    shape = (-1, 1, 1)
    mean, std = (torch.tensor(config[name]).view(shape) for name in ("mean", "std"))
    made = made_images(model, _MADE) * std + mean
    rows = list((made * 255).round().clamp(0, 255).to(torch.uint8).numpy())
    if images is not None:
        # In no order: those of a folder come class by class, and calibration takes the first.
        images = images[np.random.default_rng(0).permutation(len(images))]
        together = [(image, True) for image in images] + [(row, False) for row in rows[len(images) :]]
        return _parted(together[: most_images(model)])
    kept = _exemplar_images(checkpoint, Cropping(config)) if checkpoint is not None else []
    together = []
    for place in range(max(len(rows), len(kept))):
        together += [(row, False) for row in rows[place : place + 1]]
        together += [(image, True) for image in kept[place : place + 1]]
    return _parted(together[: most_images(model)])


def _parted(together: list[tuple[np.ndarray, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """Part images from whether they are photographs; one that comes several times would count as often."""
    once: dict[bytes, tuple[np.ndarray, bool]] = {}
    for image, photograph in together:
        once.setdefault(image.tobytes(), (image, photograph))
    images, photographs = zip(*once.values(), strict=True)
    return np.stack(images), np.array(photographs)


def _exemplar_images(checkpoint: Path, crop: Cropping) -> list[np.ndarray]:
    if not (checkpoint / EXEMPLARS).is_file():
        return []
    try:
        exemplars = load_exemplars(checkpoint)
        if exemplars is None:
            return []
        step = max(1, len(exemplars) // _MOST_EXEMPLARS)
        return [crop(decode(each, ImageLimits())) for each in exemplars.thumbnails[::step]]
    except (ExemplarError, ImageError):  # such a model answers all the same, and is compared on made images
        return []


class _Both(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = embed_and_classify(self.model, pixels)
        return logits, features


@torch.no_grad()
def _with_features(eager: nn.Module, pixels: Tensor) -> tuple[nn.Module, Outputs]:
    """Find out whether a model gives features besides logits; return what does, and the outputs for all pixels."""
    try:
        logits = torch.cat([eager(part) for part in pixels.split(_BATCH)]).float().numpy()
    except Exception as error:  # whatever the code of any model raises
        size = " x ".join(str(length) for length in pixels.shape[1:])
        raise ExportError(f"the model does not take images of {size}, as its pretrained_cfg says: {error}") from error
    try:
        both = _Both(eager)
        found = [both(part) for part in pixels.split(_BATCH)]
    except Exception:  # of a classifier that does not split into features and head as timm's do
        return eager, Outputs(logits, None)
    again, features = (torch.cat(each).numpy() for each in zip(*found, strict=True))
    if np.abs(again - logits).max() > 1e-4 * max(1.0, float(np.abs(logits).max())):
        return eager, Outputs(logits, None)  # its head is not all that comes after its features
    return both, Outputs(logits, features)


def _write_onnx(module: nn.Module, pixels: Tensor, path: Path, *, features: bool) -> None:
    import onnx

    if sum(tensor.nbytes for tensor in module.state_dict().values()) >= MOST_ONNX_BYTES:
        raise ExportError("an ONNX file holds at most 2 GiB, and the weights take more.")
    program = trace(module, pixels)
    try:
        with quiet():
            converted = torch.onnx.export(
                program,
                input_names=["pixels"],
                output_names=["logits", "features"] if features else ["logits"],
                dynamic_shapes=dynamic_batch(),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # whatever an operation without a counterpart makes the exporter raise
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"torch.onnx cannot write the model: {reason}") from error
    if converted is None:
        raise ExportError("torch.onnx gave no program.")
    proto = converted.model_proto
    for node in [*proto.graph.node, *(node for function in proto.functions for node in function.node)]:
        del node.metadata_props[:]  # where each came from, in the source files of this machine
    del proto.graph.value_info[:]
    del proto.metadata_props[:]
    onnx.save(proto, path)


def _compared(
    path: Path, precision: str, pixels: np.ndarray, expected: Outputs, answering: Answering
) -> dict[str, Agreement]:
    found = {}
    for runtime in GRAPH_RUNTIMES:
        try:
            check_available(runtime, precision)
        except RuntimeUnavailable:
            continue
        try:
            graph = open_graph(runtime, path, precision, threads=torch.get_num_threads())
            found[f"{runtime} {precision}"] = compare_graph(graph, pixels, expected, precision, answering)
        except Exception as error:  # whatever a library raises for a graph that it cannot run
            if precision == "fp32" and not isinstance(error, (RuntimeError, ValueError)):
                raise
    return found


def _told(agreement: dict[str, Agreement]) -> str:
    return "; ".join(f"{name}: {found}" for name, found in agreement.items()) or "no runtime is installed"
