"""More formats than a service accepts are decoded where they are asked for, and seen the same."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ait_lite.images.decode import decode, refusal
from ait_lite.images.errors import TooManyPixels, UndecodableImage, UnsupportedFormat
from ait_lite.images.formats import FORMATS, readable_formats
from ait_lite.images.limits import ImageLimits
from tests.support.images.service_images import deep_png, encode, scene

LIMITS = ImageLimits()
OTHERS = {"GIF": 40, "BMP": 0, "TIFF": 0, "PPM": 0, "AVIF": 8, "JPEG2000": 8}  # and levels that they may lose
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("format", OTHERS)
def test_other_formats_are_decoded_where_they_are_accepted(format: str) -> None:
    data = encode(scene(), format, **({"quality": 95} if format == "AVIF" else {}))
    decoded = np.asarray(decode(data, LIMITS, readable_formats())).astype(int)
    assert decoded.shape == np.asarray(scene()).shape
    assert np.abs(decoded - np.asarray(scene())).max() <= OTHERS[format]
    with pytest.raises(UnsupportedFormat, match="not a JPEG, PNG or WebP image"):
        decode(data, LIMITS)
    assert isinstance(refusal(data, scene().size, LIMITS), UnsupportedFormat)


@pytest.mark.parametrize("tag", [None, *range(10)])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "AVIF"])
def test_every_format_is_turned_upright_once(format: str, tag: int | None) -> None:
    stored = scene().transpose(TURNS[tag]) if tag in TURNS else scene()
    exif = Image.Exif()
    if tag is not None:
        exif[0x0112] = tag
    options = {"quality": 95} if format == "AVIF" else {}
    decoded = decode(encode(stored, format, exif=exif, **options), LIMITS, readable_formats())
    assert decoded.size == scene().size
    assert np.abs(np.asarray(decoded).astype(int) - np.asarray(scene())).max() <= OTHERS.get(format, 0)


def test_sixteen_bits_with_transparency_are_scaled_and_laid_on_white() -> None:
    """Red rises as opacity falls, from the first pixel to the last."""
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    rows = np.stack([ramp, 0 * ramp, 0 * ramp, 65535 - ramp], -1).astype(">u2")  # (H, W, RGBA)
    decoded = np.asarray(decode(deep_png(rows), LIMITS))
    opacity = 1 - ramp / 65535
    assert np.abs(decoded[..., 0] - (ramp / 257 * opacity + 255 * (1 - opacity))).max() <= 2
    assert np.abs(decoded[..., 1] - 255 * (1 - opacity)).max() <= 2
    assert decoded.mean() == pytest.approx(141.6, abs=0.1)


def test_deep_grey_of_a_tiff_is_scaled() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    decoded = np.asarray(decode(encode(Image.fromarray(ramp), "TIFF"), LIMITS, readable_formats()))
    assert np.abs(decoded[..., 0].ravel().astype(int) - np.arange(256)).max() <= 1


def test_numbers_without_a_range_are_refused() -> None:
    data = encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
    with pytest.raises(UndecodableImage, match="floating-point"):
        decode(data, LIMITS, readable_formats())


def test_narrower_limits_say_what_they_would_refuse() -> None:
    data = encode(scene())
    assert refusal(data, scene().size, LIMITS) is None
    assert isinstance(refusal(data, scene().size, ImageLimits(pixels=100)), TooManyPixels)
    assert "longer side" in str(refusal(data, (3, 1000), LIMITS))
    assert set(FORMATS) < set(readable_formats())
