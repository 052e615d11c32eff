"""Measure what a checkpoint's accuracy becomes in the runtimes and precisions that servers have."""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from ait.export import ExportError
from ait.export.graph import write_graphs
from ait_lite.checkpoint import read_config, read_temperature
from ait_lite.runtimes import Graph, PreparedModel, RuntimeUnavailable, open_graph
from training.data import Preprocessing, decode, open_evaluation
from training.data.sources.folder import Layout
from training.evaluation.evaluate import known_labels, refuse_multi_label
from training.evaluation.scoring import predict_all
from training.storage.model_folder import load_model


@dataclass(frozen=True)
class RuntimeResult:
    """What one runtime gives in one precision.

    Attributes:
        reason: Why nothing could be measured; empty if it could. The figures are then 0.
        accuracy: Share of images whose best class is right.
        nll: Mean negative log-likelihood of the right class, at the checkpoint's temperature.
        same_label: Share of images with the same best class as in torch and fp32.
    """

    runtime: str
    precision: str
    reason: str = ""
    accuracy: float = 0.0
    nll: float = 0.0
    same_label: float = 0.0


def compare_runtimes(
    checkpoint: Path,
    data_root: str | Path | None,
    *,
    runtimes: Sequence[str],
    precisions: Sequence[str],
    source: str = "folder",
    only: str | Path | None = None,
    layout: Layout = "auto",
    cache: Path | None = None,
    console: Console | None = None,
) -> list[RuntimeResult]:
    """Score a checkpoint on every image of a folder, in each runtime and precision.

    Args:
        checkpoint: Its folder.
        data_root: As for `training.evaluation.evaluate.evaluate`, as are the next ones.
        runtimes: ``torch``, ``openvino`` and ``onnxruntime``.
        precisions: ``fp32``, ``bf16`` and ``int8``.
        source: What `data_root` holds.
        only: A text file of image names.
        layout: As a recipe's ``data.layout``.
        cache: Folder of decoded images.
        console: Where progress is shown.

    Raises:
        CheckpointError: The folder is no checkpoint.
        DataError: The data folder cannot be used, or holds classes the model does not know.
    """
    model = load_model(checkpoint).eval()
    refuse_multi_label(checkpoint)
    temperature = read_temperature(read_config(checkpoint)) or 1.0
    samples = open_evaluation(source, data_root, only, layout)
    labels = known_labels(samples, model)
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)
    place = torch.device("cpu")

    def score(module: nn.Module) -> Tensor:
        return predict_all(module, images, preprocessing, place)

    reference = score(model).argmax(1)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        graphs: PreparedModel | ExportError | None = None
        if set(runtimes) - {"torch"}:
            try:
                graphs = write_graphs(
                    model, Path(folder), checkpoint, temperature=temperature, int8="int8" in precisions
                )
            except ExportError as error:
                graphs = error
        for runtime in runtimes:
            for precision in precisions:
                try:
                    logits = score(_module(model, graphs, runtime, precision))
                except (RuntimeUnavailable, ExportError) as error:
                    results.append(RuntimeResult(runtime, precision, str(error)))
                    continue
                best = logits.argmax(1)
                results.append(
                    RuntimeResult(
                        runtime,
                        precision,
                        accuracy=float((best == labels).float().mean()),
                        nll=float(nn.functional.cross_entropy(logits / temperature, labels)),
                        same_label=float((best == reference).float().mean()),
                    )
                )
    return results


def _module(model: nn.Module, graphs: PreparedModel | ExportError | None, runtime: str, precision: str) -> nn.Module:
    if runtime == "torch":
        if precision == "int8":
            raise RuntimeUnavailable("torch is not used for int8")
        return model if precision == "fp32" else _InBf16(model)
    if not isinstance(graphs, PreparedModel):
        raise graphs or RuntimeUnavailable("there is no graph")
    path = graphs.graph(precision)
    if path is None:
        raise RuntimeUnavailable("no int8 graph answers as the model does, or onnxruntime is not installed")
    return _InGraph(open_graph(runtime, path, precision, threads=torch.get_num_threads()))


class _InBf16(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).bfloat16()

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixels.bfloat16())
        return logits.float()


class _InGraph(nn.Module):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.from_numpy(self.graph(pixels.numpy()).logits)
