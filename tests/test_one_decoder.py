"""One image is one image: training, evaluation, export, prediction and service see the same bytes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw

from ait.export.sample_images import read_images
from ait_lite.images.crop import Cropping
from ait_lite.images.limits import ImageLimits
from service.images.memory import PixelBudget
from service.images.pool import _decode
from tests.support.images.colour_profiles import ADOBE_RGB, DISPLAY_P3, cmyk_profile, rgb_profile
from tests.support.images.service_images import deep_png, encode, scene
from training.data import Preprocessing, UndecodedImages, check, decode
from training.data.sources.folder import scan_folder

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


def icon() -> Image.Image:
    """A black disc on transparent black."""
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((8, 8, 24, 24), fill=(0, 0, 0, 255))
    return image


def palette() -> Image.Image:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([0, 0, 0, 0, 0, 0])
    ImageDraw.Draw(image).ellipse((8, 8, 24, 24), fill=1)
    return image


def files() -> dict[str, bytes]:
    """Files of every format, mode and orientation, by name."""
    made: dict[str, bytes] = {}
    for format, ending in ENDINGS.items():
        made[f"none.{ending}"] = encode(scene(), format)
        for tag in range(10):
            exif = Image.Exif()
            exif[0x0112] = tag
            stored = scene().transpose(TURNS[tag]) if tag in TURNS else scene()
            made[f"orientation-{tag}.{ending}"] = encode(stored, format, exif=exif, quality=95, lossless=True)
        made[f"p3.{ending}"] = encode(scene(), format, icc_profile=rgb_profile(DISPLAY_P3, None))
        made[f"adobe.{ending}"] = encode(scene(), format, icc_profile=rgb_profile(ADOBE_RGB, 563 / 256))
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    made["icon.png"], made["icon.webp"] = encode(icon()), encode(icon(), "WEBP", lossless=True, exact=True)
    made["grey-alpha.png"] = encode(icon().convert("LA"))
    made["palette.png"] = encode(palette(), transparency=0)
    made["grey16.png"] = encode(Image.fromarray(ramp))
    made["rgba16.png"] = deep_png(np.stack([ramp, 0 * ramp, 0 * ramp, 65535 - ramp], -1).astype(">u2"))
    made["grey.jpg"], made["bit.png"] = encode(scene().convert("L"), "JPEG"), encode(scene().convert("1"))
    made["cmyk.jpg"] = encode(scene().convert("CMYK"), "JPEG")
    made["cmyk-profile.jpg"] = encode(scene().convert("CMYK"), "JPEG", icc_profile=cmyk_profile())
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    (root / "all").mkdir()
    for name, data in files().items():
        (root / "all" / name).write_bytes(data)
    return root


@pytest.mark.parametrize("channels", [1, 3])
def test_everybody_sees_the_same(folder: Path, channels: int, tmp_path: Path) -> None:
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=16, depth=1, embed_dim=12, in_chans=channels, num_classes=2
    )
    mean = (0.5,) * channels
    model.pretrained_cfg |= {"input_size": (channels, 32, 32), "mean": mean, "std": mean}
    preprocessing = Preprocessing.of_model(model)
    samples, trained = decode(scan_folder(folder), preprocessing, cache=tmp_path)
    assert len(samples) == len(files())
    undecoded = UndecodedImages(check(samples, cache=tmp_path), preprocessing)
    paths = [samples.file(index) for index in range(len(samples))]
    exported = read_images(model, paths, limit=len(paths))
    crop = Cropping(preprocessing.data_config())
    for index, path in enumerate(paths):
        upload: Any = SimpleNamespace(data=path.read_bytes())
        served = _decode(upload, crop, ImageLimits(), PixelBudget(10**9)).item
        assert isinstance(served, np.ndarray)
        assert np.array_equal(served, trained[index].numpy()), path.name
        assert np.array_equal(served, undecoded.decode(index).numpy()), path.name
        assert torch.equal(preprocessing.normalise(trained[index : index + 1])[0], exported[index]), path.name


def test_what_is_seen_is_what_a_person_expects(folder: Path) -> None:
    samples = scan_folder(folder)
    images = {name.removeprefix("all/"): np.asarray(samples.image(index)) for index, name in enumerate(samples.names)}
    for name, image in images.items():
        if name.startswith("orientation-") and not name.endswith("jpg"):
            assert np.array_equal(image, np.asarray(scene())), name
    means = {name: float(image.mean()) for name, image in images.items()}
    for name in ("icon.png", "icon.webp", "grey-alpha.png", "palette.png"):
        assert means[name] == pytest.approx(200, abs=0.1)
    assert means["grey16.png"] == pytest.approx(127.5, abs=0.1)
    assert means["rgba16.png"] == pytest.approx(141.6, abs=0.1)
