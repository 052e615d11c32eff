"""Measure what a checkpoint's accuracy becomes in the runtimes and precisions that servers have."""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from ait.export import ExportError
from ait.export.graph import write_graphs
from ait_lite.checkpoint import named_labels, read_config, read_temperature
from ait_lite.runtimes import Answering, Graph, PreparedModel, RuntimeUnavailable, open_graph, why
from training.data import Preprocessing, decode, open_evaluation
from training.data.sources.folder import Layout
from training.errors import DataError
from training.evaluation.evaluate import known_labels, known_targets
from training.evaluation.multi_label import DEFAULT_THRESHOLD, mean_average_precision
from training.evaluation.scoring import predict_all
from training.storage.model_folder import load_model


@dataclass(frozen=True)
class RuntimeResult:
    """What one runtime gives in one precision.

    Attributes:
        runtime: Its name.
        precision: Of its numbers.
        reason: Why nothing could be measured; empty if it could.
        figures: `accuracy`, the share of images whose best class is right; `nll`, the mean negative log-likelihood of
            the right class, at the checkpoint's temperature; and `same_label`, the share of images with the same best
            class as in torch and fp32. Of classes that do not exclude each other `mean_average_precision`; `loss`, the
            binary cross-entropy; and `same_classes`, the share of images in which the same ones are found. 0 where
            nothing could be measured.
    """

    runtime: str
    precision: str
    reason: str
    figures: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return {"runtime": self.runtime, "precision": self.precision, "reason": self.reason} | self.figures


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
        data_root: As for `training.evaluation.evaluate.evaluate`, as are the next ones; a table for a model that tells
            any number of classes an image.
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
    config = read_config(checkpoint)
    temperature = read_temperature(config) or 1.0
    measure: _Exclusive | _Independent
    if config.get("multi_label"):
        if data_root is None:
            raise DataError("name the table of images and their classes as DATA")
        given = config.get("thresholds") or {}
        thresholds = [given.get(name, DEFAULT_THRESHOLD) for name in named_labels(config)]
        samples = open_evaluation("table", data_root, only, multi_label=True)
        measure = _Independent(known_targets(samples, model), thresholds)
    else:
        samples = open_evaluation(source, data_root, only, layout)
        measure = _Exclusive(known_labels(samples, model), temperature)
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)
    place = torch.device("cpu")

    def score(module: nn.Module) -> Tensor:
        return predict_all(module, images, preprocessing, place)

    reference = measure.answers(score(model))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        graphs: PreparedModel | ExportError | None = None
        if set(runtimes) - {"torch"}:
            try:
                graphs = write_graphs(
                    model, Path(folder), checkpoint, answering=Answering.of(config), int8="int8" in precisions
                )
            except ExportError as error:
                graphs = error
        for runtime in runtimes:
            for precision in precisions:
                try:
                    logits = score(_module(model, graphs, runtime, precision))
                except Exception as error:  # whatever a library raises for a graph that it cannot run
                    if runtime == "torch" and not isinstance(error, RuntimeUnavailable):
                        raise
                    results.append(RuntimeResult(runtime, precision, why(error), dict.fromkeys(measure.names, 0.0)))
                    continue
                same = (measure.answers(logits) == reference).all(dim=1)
                values = (measure.accuracy(logits), measure.loss(logits), float(same.float().mean()))
                figures = dict(zip(measure.names, values, strict=True))
                results.append(RuntimeResult(runtime, precision, "", figures))
    return results


class _Exclusive:
    """How answers of one class an image are measured.

    Args:
        labels: (N,) int64.
        temperature: Of the probabilities.
    """

    names = ("accuracy", "nll", "same_label")

    def __init__(self, labels: Tensor, temperature: float) -> None:
        self._labels, self._temperature = labels, temperature

    def answers(self, logits: Tensor) -> Tensor:
        """Name the class of each image, (N, 1)."""
        return logits.argmax(1, keepdim=True)

    def accuracy(self, logits: Tensor) -> float:
        return float((self.answers(logits)[:, 0] == self._labels).float().mean())

    def loss(self, logits: Tensor) -> float:
        return float(nn.functional.cross_entropy(logits / self._temperature, self._labels))


class _Independent:
    """How answers of any number of classes an image are measured.

    Args:
        targets: (N, classes), 1 for each class that an image has.
        thresholds: Of the probabilities, by label.
    """

    names = ("mean_average_precision", "loss", "same_classes")

    def __init__(self, targets: Tensor, thresholds: Sequence[float]) -> None:
        self._targets = targets
        self._thresholds = torch.tensor(thresholds)

    def answers(self, logits: Tensor) -> Tensor:
        """Tell which classes are found in each image, (N, classes)."""
        return logits.sigmoid() >= self._thresholds

    def accuracy(self, logits: Tensor) -> float:
        return mean_average_precision(logits, self._targets)

    def loss(self, logits: Tensor) -> float:
        return float(nn.functional.binary_cross_entropy_with_logits(logits, self._targets))


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
