"""An image with a map over it."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from service.images.overlay import data_uri, overlay


def drawn(image: np.ndarray, values: list[list[float]]) -> np.ndarray:
    with Image.open(BytesIO(overlay(image, np.array(values)))) as file:
        assert file.format == "PNG"
        assert file.mode == "RGB"
        return np.asarray(file).astype(int)


@pytest.mark.parametrize("channels", [1, 3])
def test_for_is_orange_and_against_is_blue(channels: int) -> None:
    shown = drawn(np.full((channels, 32, 64), 128, np.uint8), [[1.0, -1.0, 0.0, 0.5]])
    assert shown.shape == (256, 512, 3)
    strong, against, none, weak = (shown[128, 64 + 128 * column] for column in range(4))
    assert strong[0] > 200 > 100 > strong[2]
    assert against[2] > 200 > 100 > against[0]
    assert none.tolist() == [128, 128, 128]
    assert none[0] < weak[0] < strong[0]
    assert strong[2] < weak[2] < none[2]


def test_the_image_shows_through() -> None:
    image = np.zeros((3, 256, 300), np.uint8)
    image[:, :, 150:] = 255
    shown = drawn(image, [[1.0]])
    assert shown.shape == (256, 300, 3)
    assert (shown[100, 200] > shown[100, 100]).all()


def test_a_map_of_nothing_leaves_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 256, 256), dtype=np.uint8)
    assert (drawn(image, [[0.0, 0.0]]) == image.transpose(1, 2, 0)).all()


def test_a_data_uri_holds_the_bytes() -> None:
    assert data_uri("image/png", b"\x00\xff") == "data:image/png;base64,AP8="
    text = base64.b64encode(b"abc").decode()
    assert data_uri("image/jpeg", text) == f"data:image/jpeg;base64,{text}"
