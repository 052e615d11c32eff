from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ait_lite.images import errors
from ait_lite.images.decode import _webp_size, decode
from ait_lite.images.limits import ImageLimits
from tests.support.images.service_images import FORMATS, encode, many_scans, png_header, scene, webp_header

LIMITS = ImageLimits(pixels=1_000_000, aspect=100)
RED, WHITE = (255, 0, 0), (255, 255, 255)


def colour(data: bytes) -> tuple[float, ...]:
    image = decode(data, LIMITS)
    assert image.mode == "RGB"
    return tuple(np.asarray(image).reshape(-1, 3).mean(0))


def near(value: float | tuple[int, ...]) -> object:
    return pytest.approx(value, abs=4)


@pytest.mark.parametrize("format", FORMATS)
def test_a_plain_image_comes_through(format: str) -> None:
    decoded = np.asarray(decode(encode(scene(), format, quality=95), LIMITS)).astype(int)
    assert np.abs(decoded - np.asarray(scene())).mean() < 4


@pytest.mark.parametrize("format", FORMATS)
def test_red_is_red(format: str) -> None:
    assert colour(encode(Image.new("RGB", (20, 10), RED), format)) == near(RED)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize(
    ("alpha", "seen"), [(255, RED), (0, WHITE), (128, (255, 127, 127))], ids=["opaque", "clear", "half"]
)
def test_transparency_is_laid_on_white(format: str, alpha: int, seen: tuple[int, ...]) -> None:
    assert colour(encode(Image.new("RGBA", (8, 8), (*RED, alpha)), format, lossless=True)) == near(seen)


def test_grey_with_alpha() -> None:
    assert colour(encode(Image.new("LA", (8, 8), (0, 255)))) == (0, 0, 0)
    assert colour(encode(Image.new("LA", (8, 8), (0, 0)))) == WHITE


def test_palette() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 255, *RED])
    assert colour(encode(image)) == RED
    assert colour(encode(image, transparency=0)) == RED
    assert colour(encode(image, transparency=1)) == WHITE
    assert colour(encode(image, transparency=bytes([255, 128]))) == near((255, 127, 127))


def test_a_transparent_colour_without_an_alpha_channel() -> None:
    assert colour(encode(Image.new("RGB", (8, 8), RED), transparency=RED)) == WHITE
    assert colour(encode(Image.new("L", (8, 8), 7), transparency=7)) == WHITE


@pytest.mark.parametrize("value", [0, 100, 255])
def test_grey(value: int) -> None:
    assert colour(encode(Image.new("L", (8, 8), value))) == (value,) * 3
    assert colour(encode(Image.new("L", (8, 8), value), "JPEG")) == near((value,) * 3)


def test_deep_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    decoded = np.asarray(decode(encode(Image.fromarray(ramp)), LIMITS))
    assert np.abs(decoded[..., 0].ravel().astype(int) - np.arange(256)).max() <= 1
    assert (decoded == decoded[..., :1]).all()


def test_deep_grey_with_a_transparent_value() -> None:
    deep = Image.fromarray(np.full((8, 8), 300, np.uint16))
    assert colour(encode(deep, transparency=300)) == WHITE


def test_one_bit() -> None:
    assert colour(encode(Image.new("1", (8, 8), 1))) == WHITE
    assert colour(encode(Image.new("1", (8, 8), 0))) == (0, 0, 0)


def test_cmyk() -> None:
    assert colour(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)) == near(RED)
    assert colour(encode(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG", quality=95)) == near(WHITE)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), name) for name in ("red", "lime", "blue")]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    assert colour(data) == near(RED)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(format: str, orientation: int) -> None:
    stored = scene(16, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(stored, format, exif=exif, quality=95, lossless=True), LIMITS)
    # Where the first row and column of the stored image belong, from the EXIF standard.
    array = np.asarray(stored).astype(int)
    upright = {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.transpose(1, 0, 2),
        6: array[::-1].transpose(1, 0, 2),
        7: array[::-1, ::-1].transpose(1, 0, 2),
        8: array[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    assert decoded.size == (upright.shape[1], upright.shape[0])
    assert np.abs(np.asarray(decoded) - upright).mean() < 5


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_image() -> None:
    assert colour(encode(Image.new("RGB", (8, 8), RED), "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")) == near(RED)


def test_nothing() -> None:
    with pytest.raises(errors.EmptyImage):
        decode(b"", LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\0\0\0\0WAVE",
        encode(scene(), "GIF"),
        b"\x89PNG",
    ],
    ids=["text", "svg", "wave", "gif", "half-magic"],
)
def test_other_formats(data: bytes) -> None:
    with pytest.raises(errors.UnsupportedFormat):
        decode(data, LIMITS)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.03, 0.5, 0.9])
def test_truncated(format: str, part: float) -> None:
    data = encode(scene(200, 200), format)
    with pytest.raises(errors.UndecodableImage):
        decode(data[: max(13, int(len(data) * part))], LIMITS)


@pytest.mark.parametrize("data", [png_header(10_000, 10_000), webp_header(13_000, 13_000)], ids=["png", "webp"])
def test_the_size_is_checked_before_pixels_are_decoded(data: bytes) -> None:
    # There are no pixels: a decoder that had started would have found the file damaged.
    with pytest.raises(errors.TooManyPixels, match="at most 1,000,000"):
        decode(data, LIMITS)
    with pytest.raises(errors.UndecodableImage):
        decode(data, ImageLimits(pixels=10**9))


def test_a_bomb_that_would_decode() -> None:
    data = encode(Image.new("1", (10_000, 10_000)))
    assert len(data) < 30_000
    with pytest.raises(errors.TooManyPixels):
        decode(data, ImageLimits())


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": Image.Exif()}], ids=["lossy", "lossless", "x"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_webp_header(options: dict[str, object], mode: str) -> None:
    data = encode(scene(300, 17).convert(mode), "WEBP", **options)
    assert _webp_size(data) == (300, 17)


def test_exactly_the_limit_is_accepted() -> None:
    assert decode(encode(Image.new("1", (1000, 1000))), LIMITS).size == (1000, 1000)
    with pytest.raises(errors.TooManyPixels):
        decode(encode(Image.new("1", (1001, 1000))), LIMITS)


def test_a_strip_that_resizing_would_blow_up() -> None:
    assert decode(encode(Image.new("L", (2, 200))), LIMITS).size == (2, 200)
    for size in ((2, 201), (201, 2)):
        with pytest.raises(errors.UndecodableImage, match="100 times"):
            decode(encode(Image.new("L", size)), LIMITS)


def test_a_jpeg_with_endless_scans() -> None:
    assert decode(many_scans(5), LIMITS).size == (48, 36)
    with pytest.raises(errors.UndecodableImage, match="scans"):
        decode(many_scans(60), LIMITS)
    trailer = encode(scene(), "JPEG", progressive=True) + b"\xff\xda" * 100  # as in photographs with a film behind
    assert decode(trailer, LIMITS).size == (48, 36)


def test_pillow_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode(encode(scene()), LIMITS)
    assert before == Image.MAX_IMAGE_PIXELS
    assert Image.open(BytesIO(encode(scene(), "GIF"))).format == "GIF"
