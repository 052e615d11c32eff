"""Metrics: what is counted, what is measured, and that clients cannot add series."""

from __future__ import annotations

import os

from tests.support.processes.waiting import wait_for
from tests.support.servers.observed_service import IMAGE, ObservedService, classify, rise
from tests.support.servers.service_client import wait_until_ready


def test_what_is_counted(observed: ObservedService) -> None:
    before = observed.metrics()
    classify(observed)
    observed.client.post("/v1/classify", files=[("file", IMAGE)] * 3)
    observed.client.post("/v1/models/colours/classify", content=b"text")
    observed.client.post("/v1/classify", content=IMAGE, headers={"x-request-timeout": "1e-9"})
    observed.client.get("/ui/common/style.css")
    after = observed.metrics()
    counted = {"route": "/v1/classify", "method": "POST"}
    assert rise(before, after, "ait_http_requests_total", **counted, status="200") == 2
    assert rise(before, after, "ait_http_requests_total", **counted, status="504") == 1
    by_name = {"route": "/v1/models/{model}/classify", "method": "POST", "status": "415"}
    assert rise(before, after, "ait_http_requests_total", **by_name) == 1
    assert rise(before, after, "ait_http_requests_total", route="/ui", method="GET", status="200") == 1
    assert rise(before, after, "ait_http_requests_total", route="/metrics", method="GET", status="200") == 1
    assert rise(before, after, "ait_http_request_seconds_count", **counted) == 3
    sums = {}
    for stage in ("queue", "decode", "infer", "total"):
        labels = {"model": "colours", "stage": stage}
        assert rise(before, after, "ait_inference_seconds_count", **labels) == 2
        sums[stage] = rise(before, after, "ait_inference_seconds_sum", **labels)
    assert 0 < sums["infer"] < sums["total"]
    assert sums["queue"] + sums["decode"] + sums["infer"] <= sums["total"]
    batches = {"model": "colours", "operation": "logits"}
    assert rise(before, after, "ait_batch_size_sum", **batches) == 4
    assert 2 <= rise(before, after, "ait_batch_seconds_count", **batches) <= 4
    assert rise(before, after, "ait_rejected_total", model="colours", reason="deadline") == 1


def test_how_it_is_now(observed: ObservedService) -> None:
    now = observed.metrics()
    assert now["ait_worker_up", frozenset({("worker", "0")})] == 1
    assert now["ait_requests_in_progress", frozenset({("worker", "0")})] == 1  # the one that asks
    assert now["ait_queue_depth", frozenset({("worker", "0"), ("model", "colours")})] == 0
    versions = {"worker": "0", "model": "colours", "version": "1"}
    assert now["ait_model_ready", frozenset(versions.items())] == 1
    memory = {dict(labels)["process"]: value for (name, labels), value in now.items() if "resident" in name}
    assert memory.keys() == {"front", "launcher", "model"}
    assert min(memory.values()) > 20e6
    assert not any(name.endswith("_created") for name, _ in now)


def test_clients_cannot_add_series(observed: ObservedService) -> None:
    def noise(seed: int) -> None:
        for path in (f"/{seed}", f"/v1/models/{seed}", f"/v2/models/{seed}/infer", f"/ui/{seed}"):
            for method in ("GET", "POST", f"X{seed}"):
                observed.client.request(method, path, content=b"{}")
        observed.client.get(f"/v1/models?{seed}={seed}", headers={"x-request-id": str(seed)})

    noise(0)
    observed.metrics()
    before = observed.metrics().keys()
    for seed in range(1, 6):
        noise(seed)
    assert observed.metrics().keys() == before


def test_a_model_that_dies_is_counted(observed: ObservedService) -> None:
    before = observed.metrics()
    (model,) = observed.app.state.engine.models.loaded()
    assert model.pid
    os.kill(model.pid, 9)
    loads = {"name": "ait_model_loads_total", "model": "colours", "result": "ok"}
    wait_for(lambda: rise(before, observed.metrics(), **loads), "the model to be loaded again")
    after = observed.metrics()
    assert rise(before, after, **loads) == 1
    assert rise(before, after, "ait_model_process_deaths_total", model="colours") == 1
    wait_until_ready(observed.client)
    classify(observed)
