"""Requests for explanations, and the models that answer them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from fastapi.testclient import TestClient
from httpx import Response

from tests.support.images.service_images import encode, scene

NAMES = ["ant", "bee", "cat", "3"]

TEMPERATURE = 0.4

IMAGE = encode(scene(48, 32))


def save(model: torch.nn.Module, folder: Path, **config: Any) -> Path:
    size = {"input_size": (3, 32, 32), "crop_pct": 1.0, "interpolation": "bilinear"}
    timm.models.save_for_hf(
        model, folder, model_config={"label_names": NAMES, **config}, data_config=size, safe_serialization=True
    )
    return folder


def ask(client: TestClient, path: str = "/v1/explain", **options: Any) -> dict[str, Any]:
    response = client.post(path, content=IMAGE, **options)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return dict(response.json())


def refused(response: Response, status: int, kind: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"urn:ait:{kind}"
    return str(document["detail"])
