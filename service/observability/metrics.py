"""Prometheus metrics of a server: counters and histograms of events, gauges read when they are scraped.

All label values come from what is served and from the routes that exist, so that their number is bounded whatever
clients send.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from service.observability.events import Observer
from service.observability.request_context import RequestRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Snapshot = dict[str, Any]  # of one process, as `service.http.process_stats` makes it


class Metrics(Observer):
    """Counts what a server process does.

    Attributes:
        in_progress: requests being answered.
    """

    def __init__(self, shared_folder: Path | None = None) -> None:
        """Start all counts at zero.

        Args:
            shared_folder: where the processes of a server keep their counts, so that each can report those of all;
                the environment variable PROMETHEUS_MULTIPROC_DIR must have named it when the process started.
        """
        self.in_progress = 0
        self._registry = registry = CollectorRegistry()
        self._source = MultiProcessCollector(None, str(shared_folder)) if shared_folder else registry
        requests = Counter(
            "ait_http_requests",
            "Requests answered. A status of 499 means that the client left.",
            ["route", "method", "status"],
            registry=registry,
        )
        request_seconds = Histogram(
            "ait_http_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ["route", "method"],
            buckets=_SECONDS,
            registry=registry,
        )
        stage_seconds = Histogram(
            "ait_inference_seconds",
            "Where the time of requests that a model answered went: queue (for a decoder and for the model), decode, "
            "infer, and total, which has the rest too.",
            ["model", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        batch_size = Histogram(
            "ait_batch_size",
            "Images in a batch that a model ran.",
            ["model", "operation"],
            buckets=_IMAGES,
            registry=registry,
        )
        batch_seconds = Histogram(
            "ait_batch_seconds",
            "Time of a batch in a model.",
            ["model", "operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        rejected = Counter(
            "ait_rejected",
            "Requests turned away or given up, by reason; the model is empty where none was asked yet.",
            ["model", "reason"],
            registry=registry,
        )
        loads = Counter(
            "ait_model_loads",
            "Attempts to load a version of a model, by result: ok or failed.",
            ["model", "result"],
            registry=registry,
        )
        deaths = Counter(
            "ait_model_process_deaths",
            "Model processes that ended unasked; each is started again.",
            ["model"],
            registry=registry,
        )
        # Looking a series up takes longer than counting in it.
        self._requests = cache(requests.labels)
        self._request_seconds = cache(request_seconds.labels)
        self._stage_seconds = cache(stage_seconds.labels)
        self._batch_size = cache(batch_size.labels)
        self._batch_seconds = cache(batch_seconds.labels)
        self._rejected = cache(rejected.labels)
        self._loads = cache(loads.labels)
        self._deaths = cache(deaths.labels)

    def request(self, route: str, method: str, status: int, seconds: float, record: RequestRecord) -> None:
        """Note that a request has been answered; `route` is the pattern of a route, not the path."""
        method = method if method in _METHODS else "other"
        self._requests(route, method, str(status)).inc()
        self._request_seconds(route, method).observe(seconds)
        if record.model:
            stages = {"queue": record.queue, "decode": record.decode, "infer": record.infer, "total": seconds}
            for stage, value in stages.items():
                self._stage_seconds(record.model, stage).observe(value)

    def batch(
        self, model: str, version: str, operation: str, size: int, waits: Sequence[float], seconds: float
    ) -> None:
        self._batch_size(model, operation).observe(size)
        self._batch_seconds(model, operation).observe(seconds)

    def rejected(self, model: str, version: str, reason: str) -> None:
        self._rejected(model, reason).inc()

    def loaded(self, model: str, version: str, seconds: float, error: str | None) -> None:
        self._loads(model, "failed" if error else "ok").inc()

    def ended(self, model: str, version: str, expected: bool) -> None:
        if not expected:
            self._deaths(model).inc()

    def exposition(self, snapshots: Sequence[Snapshot]) -> bytes:
        """Return all metrics in Prometheus' text format; this may take milliseconds.

        Args:
            snapshots: of those processes of the server that answered.
        """
        return generate_latest(_Everything(self._source, snapshots))


class _Everything:
    """All metrics, in the shape of a registry for `generate_latest`."""

    def __init__(self, source: Any, snapshots: Sequence[Snapshot]) -> None:
        self._source, self._snapshots = source, snapshots

    def collect(self) -> Iterator[Metric]:
        for metric in self._source.collect():
            # When a series began is of no use to those who have scraped it since, and doubles what they scrape.
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric
        yield from _gauges(self._snapshots)


def _gauges(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    workers = GaugeMetricFamily("ait_worker_up", "Server processes that answer.", labels=["worker"])
    progress = GaugeMetricFamily("ait_requests_in_progress", "Requests being answered.", labels=["worker"])
    decoding = GaugeMetricFamily(
        "ait_decode_queue_depth", "Images being decoded or waiting for it.", labels=["worker"]
    )
    depth = GaugeMetricFamily("ait_queue_depth", "Images that wait for a model.", labels=["worker", "model"])
    ready = GaugeMetricFamily(
        "ait_model_ready",
        "Versions of models that are loaded: 1 answers, 0 is being restarted.",
        labels=["worker", "model", "version"],
    )
    memory = GaugeMetricFamily(
        "ait_resident_memory_bytes",
        "Memory of the processes: front (HTTP and decoding), launcher (starts the models, and shares its libraries "
        "with them), model, explainer. Pages that several share count in each.",
        labels=["worker", "process", "model", "version"],
    )
    runtime = GaugeMetricFamily(
        "ait_model_runtime",
        "Runtimes and precisions that were tried when a model was loaded: 1 answers, 0 does not.",
        labels=["worker", "model", "version", "runtime", "precision"],
    )
    rate = GaugeMetricFamily(
        "ait_model_runtime_images_per_second",
        "What was measured of each when the model was loaded, by the size of a batch.",
        labels=["worker", "model", "version", "runtime", "precision", "batch"],
    )
    agreement = GaugeMetricFamily(
        "ait_model_runtime_agreement",
        "How far answers of each were from those in torch and fp32 when the model was loaded: images that were "
        "compared, largest_difference (of a logit), features_difference (as a share of the largest), same_label "
        "(share of images), probability_difference (of the best class, on average).",
        labels=["worker", "model", "version", "runtime", "precision", "figure"],
    )
    for snapshot in snapshots:
        worker = str(snapshot["worker"])
        workers.add_metric([worker], 1)
        progress.add_metric([worker], snapshot["in_progress"])
        decoding.add_metric([worker], snapshot["decoding"])
        for name, images in snapshot["depths"].items():
            depth.add_metric([worker, name], images)
        for name, version, is_ready in snapshot["versions"]:
            ready.add_metric([worker, name, version], is_ready)
        for name, version, kind, precision, answers, rates, figures in snapshot["runtimes"]:
            runtime.add_metric([worker, name, version, kind, precision], answers)
            for batch, images in rates.items():
                rate.add_metric([worker, name, version, kind, precision, batch], images)
            for figure, value in figures.items():
                agreement.add_metric([worker, name, version, kind, precision, figure], value)
        for process, name, version, size in snapshot["memory"]:
            memory.add_metric([worker, process, name, version], size)
    yield from (workers, progress, decoding, depth, ready, runtime, rate, agreement, memory)
