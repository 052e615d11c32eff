"""Colours are converted from the embedded profile to sRGB; a profile that is of no use costs nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from ait_lite.images import colour_profile
from ait_lite.images.decode import decode
from ait_lite.images.formats import readable_formats
from ait_lite.images.limits import ImageLimits
from tests.support.images.colour_profiles import ADOBE_RGB, DISPLAY_P3, SRGB, cmyk_profile, grey_profile, rgb_profile
from tests.support.images.service_images import encode

LIMITS = ImageLimits()


def seen(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, LIMITS, readable_formats())).astype(int)


def expected(pixels: np.ndarray, primaries: tuple[tuple[float, ...], ...], gamma: float | None) -> np.ndarray:
    """What the standards say: to linear light, by the primaries to XYZ, and back by sRGB's."""
    value = pixels / 255
    linear = value**gamma if gamma else np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = (linear @ np.array(primaries).T @ np.linalg.inv(np.array(SRGB)).T).clip(0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * encoded).round().astype(int)


def colours() -> np.ndarray:
    """Colours that most spaces hold, none of them saturated."""
    return np.random.default_rng(0).integers(60, 200, (16, 16, 3)).astype(np.uint8)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("primaries", "gamma"), [(DISPLAY_P3, None), (ADOBE_RGB, 563 / 256)], ids=["display-p3", "adobe-rgb"]
)
def test_a_wide_space_becomes_srgb(format: str, primaries: tuple[tuple[float, ...], ...], gamma: float | None) -> None:
    profile = rgb_profile(primaries, gamma)
    data = encode(Image.fromarray(colours()), format, icc_profile=profile, lossless=True)
    assert np.abs(seen(data) - expected(colours(), primaries, gamma)).max() <= 2
    assert np.abs(seen(data) - colours()).max() > 5


def test_a_saturated_green_of_display_p3_is_cut_to_srgb() -> None:
    data = encode(
        Image.new("RGB", (8, 8), (0, 255, 0)), "JPEG", icc_profile=rgb_profile(DISPLAY_P3, None), quality=100
    )
    assert seen(data)[4, 4] == pytest.approx([0, 255, 0], abs=3)


def test_transparency_survives_the_conversion() -> None:
    image = Image.new("RGBA", (8, 8), (150, 90, 90, 0))
    image.paste((150, 90, 90, 255), (0, 0, 4, 8))
    pixels = seen(encode(image, icc_profile=rgb_profile(ADOBE_RGB, 563 / 256)))
    assert pixels[0, 0] == pytest.approx(expected(np.array([150, 90, 90]), ADOBE_RGB, 563 / 256), abs=2)
    assert pixels[0, 7].tolist() == [255, 255, 255]


def test_palettes_and_transparent_colours_are_converted_too() -> None:
    profile = rgb_profile(ADOBE_RGB, 563 / 256)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 150, 90, 90])
    wanted = expected(np.array([150, 90, 90]), ADOBE_RGB, 563 / 256)
    assert seen(encode(palette, icc_profile=profile))[0, 0] == pytest.approx(wanted, abs=2)
    clear = Image.new("RGB", (8, 8), (150, 90, 90))
    assert seen(encode(clear, icc_profile=profile, transparency=(150, 90, 90)))[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_has_a_profile_of_its_own(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 100 * 257, np.uint16))
    else:
        image = Image.new("L", (8, 8), 100).convert(mode)
    grey = expected(np.array([100, 100, 100]), SRGB, 1.8)
    assert seen(encode(image, icc_profile=grey_profile(1.8)))[0, 0] == pytest.approx(grey, abs=1)


def test_inks_are_converted_by_their_profile() -> None:
    for ink, lightness in (((0, 0, 0, 0), 100), ((0, 0, 0, 255), 75), ((255, 255, 255, 255), 0)):
        data = encode(Image.new("CMYK", (16, 16), ink), "JPEG", icc_profile=cmyk_profile(), quality=100)
        light = ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3
        encoded = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
        assert seen(data)[8, 8] == pytest.approx([255 * encoded] * 3, abs=4)


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        rgb_profile(SRGB, None),
        b"not a profile",
        rgb_profile(ADOBE_RGB, 2.2)[:200],
        rgb_profile(ADOBE_RGB, 2.2)[:-40],
        cmyk_profile(),
        grey_profile(1.8),
    ],
    ids=["pillow-srgb", "made-srgb", "text", "torn-head", "torn-body", "of-inks", "of-grey"],
)
def test_srgb_and_broken_profiles_change_nothing(profile: bytes) -> None:
    data = encode(Image.fromarray(colours()), icc_profile=profile)
    assert np.array_equal(seen(data), colours())


def test_a_conversion_is_made_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def make(profile: bytes, mode: str) -> None:
        made.append(profile)

    monkeypatch.setattr(colour_profile, "_make", make)
    transforms = colour_profile._Transforms()
    for _ in range(3):
        transforms.get(b"one", "RGB")
    assert made == [b"one"]
    for number in range(100):
        transforms.get(str(number).encode(), "RGB")
    assert len(transforms._kept) == colour_profile._KEPT_TRANSFORMS
    transforms.get(bytes(colour_profile.MAX_PROFILE_BYTES + 1), "RGB")
    assert len(made) == 101
