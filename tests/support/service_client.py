"""What the tests of the service share: a model's labels, and waiting for it."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient

LABELS = ["red", "green", "blue"]


def wait_until_ready(client: TestClient) -> None:
    for _ in range(2400):
        if client.get("/health/ready").status_code == 200:
            return
        time.sleep(0.05)
    pytest.fail("the model was not loaded in two minutes")
