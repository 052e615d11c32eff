"""Serve the same model with LitServe: `python -m service.benchmark.rivals.litserve_app`.

The model and its steps are the service's own; LitServe brings HTTP, queues, batching and processes. It gets
what makes the service fast too: one worker per processor with one thread each, freed memory that is kept, and
batches of the same size.
"""

# LitServe reads annotations as objects, so they must not be postponed here.

import argparse
import os
from pathlib import Path
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body

from ait_lite.allocator import keep_freed_memory
from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from service.model_process.classifier import Classifier
from service.model_process.runtimes.choice import Wanted
from service.processes.machine import available_processors
from service.repository.folders import locate
from service.settings import load_settings

Jpeg = Annotated[bytes, Body(media_type="image/jpeg")]  # a raw body: spares it JSON and base 64

MAX_BATCH = 32
BATCH_SECONDS = 0.002  # 0 has an idle worker take a processor for itself
WORKERS = available_processors()  # with a thread each: faster than one with as many threads


class ClassifyAPI(litserve.LitAPI):  # type: ignore[misc]  # the package has no types
    """Classify one image per request."""

    def __init__(self, model: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self._path = model

    def setup(self, device: str) -> None:
        keep_freed_memory()
        self._limits = ImageLimits()
        settings = load_settings()
        wanted = Wanted(settings.runtime, settings.precision)
        self._classifier = Classifier(locate(self._path), device=device, max_batch=MAX_BATCH, wanted=wanted)

    def decode_request(self, request: Jpeg) -> np.ndarray:
        return self._classifier.prepare(decode(request, self._limits))

    def batch(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return inputs

    def predict(self, inputs: list[np.ndarray]) -> list[list[tuple[str, float]]]:
        return self._classifier.label(self._classifier.scores(inputs, threads=1), 5)

    def unbatch(self, output: list[list[tuple[str, float]]]) -> list[list[tuple[str, float]]]:
        return output

    def encode_response(self, output: list[tuple[str, float]]) -> dict[str, Any]:
        return {"predictions": [{"labels": [{"label": label, "score": score} for label, score in output]}]}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    api = ClassifyAPI(arguments.model, max_batch_size=MAX_BATCH, batch_timeout=BATCH_SECONDS)
    device = os.environ.get("AIT_DEVICE", "auto")
    server = litserve.LitServer(
        api,
        accelerator=device,
        workers_per_device=WORKERS,
        fast_queue=True,
    )
    server.run(
        host=os.environ.get("HOST", "127.0.0.1"),
        port=arguments.port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main()
