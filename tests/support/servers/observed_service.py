"""A running application whose metrics and spans a test can read."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from tests.support.images.service_images import encode, scene

IMAGE = encode(scene())
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class ObservedService:
    """An application, a client of it, and the spans that it has written."""

    client: TestClient
    app: FastAPI
    spans: InMemorySpanExporter

    def metrics(self) -> Samples:
        """Return the present value of every series."""
        response = self.client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }


def classify(observed: ObservedService, **headers: str) -> None:
    """Send an image and expect an answer; underscores in names of headers stand for hyphens."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    assert observed.client.post("/v1/classify", content=IMAGE, headers=headers).status_code == 200


def rise(before: Samples, after: Samples, name: str, **labels: str) -> float:
    """Return by how much a series has risen."""
    key = (name, frozenset(labels.items()))
    return after.get(key, 0.0) - before.get(key, 0.0)
