"""Serve the same model with Ray Serve: `python -m service.benchmark.rivals.ray_serve_app`.

The model and its steps are the service's own; Ray Serve brings HTTP, queues, batching and processes. It gets
what makes the service fast too: one replica per processor with one thread each, freed memory that is kept, and
batches of the same size; and the environment in `service.benchmark.systems`, which is Ray's own for throughput.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from ait_lite.allocator import keep_freed_memory
from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from service.model_process.classifier import Classifier
from service.model_process.runtimes.choice import Wanted
from service.processes.machine import available_processors
from service.repository.folders import locate
from service.scores import Labels
from service.settings import load_settings

MAX_BATCH = 32
BATCH_SECONDS = 0.002
MAX_ONGOING = 256


class Classify:
    """Classify one image per request."""

    def __init__(self, model: str, device: str) -> None:
        keep_freed_memory()
        self._limits = ImageLimits()
        settings = load_settings()
        wanted = Wanted(settings.runtime, settings.precision)
        self._classifier = Classifier(locate(model), device=device, max_batch=MAX_BATCH, wanted=wanted)

    async def __call__(self, request: Request) -> dict[str, Any]:
        if request.method == "GET":  # asked until there is an answer: Ray Serve calls itself healthy before it is
            return {}
        image = decode(await request.body(), self._limits)
        labels = await self.classify(self._classifier.prepare(image))
        return {"predictions": [{"labels": [{"label": label, "score": score} for label, score in labels]}]}

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_SECONDS)
    async def classify(self, inputs: list[Any]) -> list[Labels]:
        # One replica per processor is faster than one with as many threads.
        return self._classifier.label(self._classifier.scores(inputs, threads=1), 5)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    stop = threading.Event()
    ray.init(num_cpus=max(2, available_processors()), include_dashboard=False, log_to_driver=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve.start(http_options={"host": os.environ.get("HOST", "127.0.0.1"), "port": arguments.port})
    deployment: Any = serve.deployment(
        num_replicas=available_processors(), max_ongoing_requests=MAX_ONGOING, ray_actor_options={"num_cpus": 1}
    )(Classify)
    serve.run(deployment.bind(arguments.model, os.environ.get("AIT_DEVICE", "auto")))
    stop.wait()
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    main()
