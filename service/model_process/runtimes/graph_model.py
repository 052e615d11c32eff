"""Run a prepared model's graph."""

from __future__ import annotations

import logging

import numpy as np

from ait_lite.images.normalise import Normalising
from ait_lite.runtimes import (
    FEW,
    Agreement,
    Answering,
    Graph,
    Outputs,
    PreparedModel,
    Reference,
    compare_graph,
    fastest,
    join,
    open_graph,
)
from service.model_process.mixed_batch import MixedBatch

logger = logging.getLogger(__name__)

WORTH = 1.2  # times that a lone image must be answered sooner with all threads, for a second copy to be kept


class GraphModel:
    """A graph in one runtime and precision; see `service.model_process.runtimes.model.Model`.

    Attributes:
        num_features: Numbers in a feature vector; 0 if the graph gives none.
        piece: As for `ait_lite.runtimes.Graph`.
    """

    def __init__(
        self, prepared: PreparedModel, runtime: str, precision: str, *, max_batch: int, threads: int, streams: int
    ) -> None:
        """Open the graph.

        Args:
            prepared: Whose graph it is.
            runtime: One of `ait_lite.runtimes.GRAPH_RUNTIMES`.
            precision: One of `ait_lite.runtimes.PRECISIONS`.
            max_batch: Most inputs that are run at once.
            threads: Of all batches together.
            streams: Batches that run at the same time; each has its share of the threads.

        Raises:
            RuntimeUnavailable: The runtime is missing, or cannot compute so.
            ValueError: There is no graph of that precision.
        """
        path = prepared.graph(precision)
        if path is None:
            raise ValueError(f"there is no {precision} graph")
        self.runtime, self.precision = runtime, precision
        self._path, self._max_batch, self._threads = path, max_batch, threads
        self.data_config = prepared.data_config
        self.num_classes, self.num_features = prepared.num_classes, prepared.num_features
        self._normalise = Normalising(prepared.data_config)
        self._run = open_graph(
            runtime, path, precision, threads=max(threads // streams, 1), streams=streams, most=max_batch
        )
        self.piece = self._run.piece
        self._wide: Graph | None = None
        self._shared = streams > 1
        self._few: tuple[np.ndarray, Outputs, Answering] | None = None  # what `widen` compares on

    def logits(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute logits of B inputs: float32 (B, classes)."""
        return self._outputs(batch, threads).logits

    def features(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute features of B inputs: float32 (B, F).

        Raises:
            ValueError: The graph gives none.
        """
        features = self._outputs(batch, threads).features
        if features is None:
            raise ValueError("the graph gives no features")
        return features

    def compare(self, reference: Reference, answering: Answering) -> Agreement:
        """Compare with the eager model's answers."""
        pixels = self._normalise(reference.images)
        self._few = pixels[:FEW].copy(), reference.outputs.first(FEW), answering
        return compare_graph(self._run, pixels, reference.outputs, self.precision, answering)

    def widen(self) -> None:
        """Keep a second copy on all threads for images that are alone, if it answers them much sooner, and alike."""
        few, self._few = self._few, None
        if not self._shared:
            return
        wide = open_graph(self.runtime, self._path, self.precision, threads=self._threads, most=1)
        lone = np.zeros((1, *self.data_config["input_size"]), np.float32)
        if WORTH * fastest(lambda: wide(lone)) >= fastest(lambda: self._run(lone)):
            return
        if few is not None:
            pixels, expected, answering = few
            agreement = compare_graph(wide, pixels, expected, self.precision, answering)
            if not agreement.enough(self.precision):
                logger.warning(
                    "%s on all threads does not answer as the model does (%s): lone images are not answered sooner",
                    self.runtime,
                    agreement,
                )
                return
        self._wide = wide

    def _outputs(self, batch: MixedBatch, threads: int) -> Outputs:
        pixels = self._assemble(batch)
        run = self._wide if self._wide is not None and threads == self._threads else self._run
        parts = [run(pixels[start : start + self._max_batch]) for start in range(0, len(pixels), self._max_batch)]
        return join(parts)

    def _assemble(self, batch: MixedBatch) -> np.ndarray:
        """Put a batch together: (B, C, H, W), float32, normalised."""
        if batch.images is None:
            assert batch.pixels is not None
            return batch.pixels
        images = self._normalise(batch.images)
        if batch.pixels is None:
            return images
        whole = np.empty((len(images) + len(batch.pixels), *images.shape[1:]), np.float32)
        given = np.zeros(len(whole), bool)
        given[batch.pixel_places] = True
        whole[given], whole[~given] = batch.pixels, images
        return whole
