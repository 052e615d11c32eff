"""Exported models are compared on images as the model sees them."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.model_config import resolve_input_data_config

from ait.export.sample_images import made_images, read_images
from tests.support.models.exported_models import make


def test_images_are_prepared_as_the_configuration_says(photos: Path) -> None:
    model = make()
    files = sorted(photos.rglob("*.png"))
    transform = create_transform(**resolve_input_data_config(model), is_training=False)
    (photos / ".hidden").mkdir()
    (photos / ".hidden" / "0.png").write_bytes(files[0].read_bytes())
    pixels = read_images(model, [photos])
    assert pixels.shape == (5, 3, 16, 16)
    torch.testing.assert_close(pixels[1], transform(Image.open(files[1]).convert("RGB")))
    turned = Image.open(photos / "ant" / "4.png").rotate(-90, expand=True)
    torch.testing.assert_close(read_images(model, [photos / "ant" / "4.png"])[0], transform(turned))
    assert len(read_images(model, [photos], limit=2)) == 2
    with pytest.raises(ValueError, match=r"notes\.txt: This is not a JPEG, PNG, WebP, "):
        read_images(model, [photos / "notes.txt"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_images(model, [photos / "nowhere"])


def test_made_images_differ_and_have_the_range_of_real_ones() -> None:
    model = make()
    pixels = made_images(model, 8)
    assert torch.equal(pixels, made_images(model, 8))
    config = resolve_input_data_config(model)
    mean, std = (torch.tensor(config[name]).view(-1, 1, 1) for name in ("mean", "std"))
    images = pixels * std + mean
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6
    assert torch.pdist(images.flatten(1)).min() > 0.1
