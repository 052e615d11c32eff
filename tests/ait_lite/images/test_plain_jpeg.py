"""Small files that hold pixels alone are decoded as all others are, to the bit."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ait_lite.images.crop import Cropping
from ait_lite.images.decode import decode, decode_pixels
from ait_lite.images.errors import ImageError, TooManyPixels
from ait_lite.images.limits import ImageLimits
from ait_lite.images.pixels import to_image
from ait_lite.images.plain_jpeg import decode_plain_jpeg, plain_jpeg_size
from ait_lite.images.upright import upright_rgb
from tests.support.images.service_images import scene

LIMITS = ImageLimits()


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(upright_rgb(Image.open(BytesIO(data))))


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    mode=st.sampled_from(["RGB", "L"]),
    quality=st.integers(30, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    seed=st.integers(0, 99),
)
def test_pixels_are_those_that_pillow_sees(
    width: int, height: int, mode: str, quality: int, subsampling: str, seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = jpeg(Image.fromarray(noise).convert(mode), quality=quality, subsampling=subsampling)
    assert plain_jpeg_size(data) == (width, height)
    pixels = decode_pixels(data, LIMITS)
    assert isinstance(pixels, np.ndarray)
    np.testing.assert_array_equal(pixels, by_pillow(data))
    np.testing.assert_array_equal(np.asarray(decode(data, LIMITS)), pixels)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(scene(40, 30), exif=exif)


def sampled(factors: int) -> bytes:
    """A file whose brightness claims other sampling factors than it has."""
    data = bytearray(jpeg(scene(40, 30), subsampling="4:4:4"))
    data[data.index(b"\xff\xc0") + 11] = factors
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        turned(),
        sampled(0x14),
        sampled(0x31),
        sampled(0x44),
        jpeg(scene(40, 30), progressive=True),
        jpeg(scene(40, 30), comment="\xff\xda"),
        jpeg(scene(40, 30), icc_profile=b"no profile"),
        jpeg(scene(40, 30).convert("CMYK")),
        jpeg(scene(300, 300)),
        jpeg(scene(40, 30))[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9",
        b"",
        b"\xff\xd8\xff",
        jpeg(scene(40, 30))[:300],
    ],
    ids=[
        "orientation",
        "4:4:1",
        "of three",
        "of four",
        "progressive",
        "comment",
        "profile",
        "CMYK",
        "large",
        "two scans",
        "empty",
        "head",
        "half a header",
    ],
)
def test_what_says_more_than_pixels_is_left_to_pillow(data: bytes) -> None:
    assert plain_jpeg_size(data) is None


def test_a_turned_image_is_upright() -> None:
    assert decode(turned(), LIMITS).size == (30, 40)


def test_a_damaged_file_is_refused_as_pillow_does() -> None:
    whole = jpeg(scene(40, 30))
    assert plain_jpeg_size(whole[:-100]) == (40, 30)
    assert decode_plain_jpeg(whole[:-100]) is None
    with pytest.raises(ImageError, match="damaged or incomplete"):
        decode(whole[:-100], LIMITS)
    # What follows the end is no part of the image.
    np.testing.assert_array_equal(np.asarray(decode(whole + b"more", LIMITS)), by_pillow(whole))


@given(position=st.integers(2, 1200), value=st.integers(0, 255))
def test_a_wrong_byte_is_an_error_or_an_image(position: int, value: int) -> None:
    data = bytearray(jpeg(scene(40, 30)))
    data[position % len(data)] = value
    try:
        found = decode(bytes(data), LIMITS)
    except ImageError:
        return
    assert found.mode == "RGB"


def test_limits_hold() -> None:
    with pytest.raises(TooManyPixels, match="40 x 30"):
        decode(jpeg(scene(40, 30)), ImageLimits(pixels=1000))
    asked: list[int] = []
    decode(jpeg(scene(40, 30)), LIMITS, admit=asked.append)
    decode(jpeg(scene(40, 30)) + b"more", LIMITS, admit=asked.append)
    assert asked == [1200, 1200]


CONFIG = {"input_size": (3, 32, 32), "crop_pct": 1.0, "interpolation": "bicubic", "mean": (0.5,) * 3}


@pytest.mark.parametrize(
    "change",
    [{}, {"crop_pct": 0.875}, {"crop_border_pixels": 2}, {"input_size": (1, 32, 32)}, {"crop_mode": "border"}],
)
@pytest.mark.parametrize("size", [(32, 32), (40, 32), (8, 8)])
def test_pixels_are_cropped_as_their_image_is(change: dict[str, object], size: tuple[int, int]) -> None:
    crop = Cropping(CONFIG | change)
    pixels = np.array(scene(*size))
    found = crop(pixels)
    np.testing.assert_array_equal(found, crop(to_image(pixels)))
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, pixels)
