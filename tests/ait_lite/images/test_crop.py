"""Images are prepared as timm does, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm.data
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from ait_lite.images.crop import Cropping

SIDES = st.integers(4, 90)


@hypothesis_settings(deadline=None, derandomize=True, max_examples=200)
@given(
    SIDES,
    SIDES,
    st.sampled_from([(3, 32, 32), (3, 24, 40), (3, 41, 17), (1, 32, 32)]),
    st.sampled_from([1.0, 0.95, 0.875, None]),
    st.sampled_from([None, "center", "squash", "border"]),
    st.sampled_from(["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]),
    st.integers(0, 2**32 - 1),
)
def test_to_the_bit_as_timm(
    width: int, height: int, size: tuple[int, int, int], crop: float, mode: str, interpolation: str, seed: int
) -> None:
    config: dict[str, Any] = {
        "input_size": size,
        "crop_pct": crop,
        "crop_mode": mode,
        "interpolation": interpolation,
        "mean": (0.485, 0.456, 0.406)[: size[0]],
        "std": (0.229, 0.224, 0.225)[: size[0]],
    }
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    transform = timm.data.create_transform(**config, is_training=False, normalize=False)
    cropped = Cropping(config)(image)
    expected = transform(image if size[0] == 3 else image.convert("L")).numpy()
    assert cropped.flags.c_contiguous
    assert cropped.dtype == np.uint8
    np.testing.assert_array_equal(cropped, expected)


def test_a_strip_does_not_vanish() -> None:
    config = {"input_size": (3, 32, 32), "crop_mode": "border", "interpolation": "bilinear", "mean": (0, 0, 0)}
    assert Cropping(config)(Image.new("RGB", (1, 100))).shape == (3, 32, 32)


def test_a_border_is_trimmed() -> None:
    config = {"input_size": (3, 8, 8), "crop_pct": 1.0, "interpolation": "nearest", "mean": (0, 0, 0)}
    image = Image.new("RGB", (12, 12), "white")
    image.paste("red", (2, 2, 10, 10))
    assert (Cropping(config | {"crop_border_pixels": 2})(image) == np.array([255, 0, 0])[:, None, None]).all()
    assert (Cropping(config)(image)[1] == 255).any()


def test_an_unknown_way_of_resizing() -> None:
    with pytest.raises(ValueError, match="'random'"):
        Cropping({"input_size": (3, 8, 8), "interpolation": "random", "mean": (0, 0, 0)})


@hypothesis_settings(deadline=None, derandomize=True, max_examples=200)
@given(
    SIDES,
    SIDES,
    st.sampled_from([(3, 32, 32), (3, 24, 40)]),
    st.sampled_from([1.0, 0.875]),
    st.sampled_from(["center", "squash"]),
    st.integers(0, 1),
)
def test_the_region_is_what_is_kept(
    width: int, height: int, size: tuple[int, int, int], crop: float, mode: str, trim: int
) -> None:
    """Every pixel of an image says where it is; where those that are kept come from is the region."""
    config = {"input_size": size, "crop_pct": crop, "crop_mode": mode, "interpolation": "nearest", "mean": (0, 0, 0)}
    rows, columns = np.mgrid[:height, :width]
    image = Image.fromarray(np.stack([columns, rows, rows], -1).astype(np.uint8))
    cropping = Cropping(config | {"crop_border_pixels": trim})
    kept = cropping(image)
    left, top, right, bottom = cropping.region(width, height)
    for start, end, length, came_from in ((left, right, width, kept[0][0]), (top, bottom, height, kept[1][:, 0])):
        centres = (start + (np.arange(len(came_from)) + 0.5) / len(came_from) * (end - start)) * length - 0.5
        step = (end - start) * length / len(came_from)
        assert np.abs(centres - came_from).max() <= 0.5 + step
    assert (left + right, top + bottom) == pytest.approx((1, 1), abs=1.01 * max(1 / 24, 2 / min(width, height)))


def test_a_frame_around_the_image_lies_outside_of_the_region() -> None:
    config = {"input_size": (3, 32, 32), "crop_mode": "border", "interpolation": "nearest", "mean": (0, 0, 0)}
    assert Cropping(config | {"crop_pct": 1.0}).region(32, 16) == [0, -0.5, 1, 1.5]
