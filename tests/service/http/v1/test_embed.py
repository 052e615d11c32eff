"""Embeddings are the library's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

import ait.interpret.explain
from tests.support.images.service_images import encode, scene
from tests.support.models.explained_models import IMAGE


def test_embeddings_are_the_librarys(
    explaining: TestClient, repository: Path, expected: ait.interpret.explain.Explanation
) -> None:
    answer = explaining.post("/v1/embed", content=IMAGE).json()
    assert (answer["model"], answer["version"], answer["dimensions"]) == ("ait", "1", 32)
    (embedding,) = answer["embeddings"]
    assert embedding["index"] == 0
    np.testing.assert_allclose(embedding["features"], expected.features, atol=1e-5)
    shortest = [float(np.format_float_scientific(np.float32(each))) for each in embedding["features"]]
    assert embedding["features"] == shortest  # no digit more than brings the float32 back


def test_several_images_are_embedded_in_order(explaining: TestClient) -> None:
    other = encode(scene(20, 60))
    files = [("file", (name, data, "image/png")) for name, data in (("a", IMAGE), ("b", other), ("c", IMAGE))]
    embeddings = explaining.post("/v1/models/vit/embed", files=files).json()["embeddings"]
    assert [each["index"] for each in embeddings] == [0, 1, 2]
    first, second, third = (np.array(each["features"]) for each in embeddings)
    assert first.shape == (64,)
    np.testing.assert_allclose(first, third, atol=1e-5)
    assert np.abs(first - second).max() > 1e-3
