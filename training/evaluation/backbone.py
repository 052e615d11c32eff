"""Compute what a frozen model's head reads, in the fastest runtime that answers as torch does."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ait_lite.runtimes import (
    GRAPH_RUNTIMES,
    Graph,
    PreparedError,
    PreparedModel,
    RuntimeUnavailable,
    is_prepared,
    open_graph,
    read_prepared,
)
from training.model.ridge_head import head_inputs

# Images that a graph's features are compared on, and by how much these may differ, as a share of the largest.
_COMPARED: Final = 4
_SAME: Final = 1e-3


class Backbone:
    """Everything of a model but its head.

    On a processor, the graph that lies beside the weights in a prepared checkpoint folder takes the model's place if
    its runtime is installed and its features are those of the model on the first images.

    Args:
        model: On `device`, in evaluation mode when it is called.
        device: Where it computes.
        folder: The checkpoint that the model was loaded from; None knows of no graph.

    Attributes:
        device: Where it computes.
    """

    def __init__(self, model: nn.Module, device: torch.device, folder: Path | None = None) -> None:
        self._model, self.device = model, device
        self._folder = folder if device.type == "cpu" and folder is not None and is_prepared(folder) else None
        self._compute: Callable[[Tensor], Tensor] | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute what the head reads of normalised images (B, C, H, W): (B, D) float32, on the CPU."""
        if self._compute is None:
            self._compute = self._graph(inputs[:_COMPARED]) or self._eager
        return self._compute(inputs)

    def _eager(self, inputs: Tensor) -> Tensor:
        return head_inputs(self._model, inputs.to(self.device)).cpu()

    def _graph(self, inputs: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Open the first runtime that gives the model's features; None if there is none."""
        if self._folder is None:
            return None
        try:
            prepared = read_prepared(self._folder)
        except PreparedError:  # the weights are whole, which is all that is needed
            return None
        _, *size = prepared.data_config["input_size"]
        wanted = (inputs.shape[2], inputs.shape[3])
        other = None if tuple(size) == wanted else wanted
        expected = self._eager(inputs)
        for runtime in GRAPH_RUNTIMES:
            graph = _open(runtime, prepared, other)
            if graph is not None and _same(_features(graph, inputs), expected):
                return partial(_features, graph)
        return None


def _open(runtime: str, prepared: PreparedModel, size: tuple[int, int] | None) -> Graph | None:
    path = prepared.graph("fp32")
    if path is None:
        return None
    try:
        return open_graph(runtime, path, threads=torch.get_num_threads(), size=size)
    except RuntimeUnavailable:
        return None


def _features(graph: Graph, inputs: Tensor) -> Tensor:
    """Compute features (B, D); of a graph that gives none they are empty, and so no model's."""
    found = graph(inputs.numpy()).features
    return torch.empty(0) if found is None else torch.from_numpy(found)


def _same(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= _SAME * max(1.0, float(expected.abs().max())))
