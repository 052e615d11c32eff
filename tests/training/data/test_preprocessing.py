"""Images are brought to the model's input as timm does it."""

import dataclasses

import numpy as np
import pytest
import timm
import timm.data
import torch
from PIL import Image

from training.data import Preprocessing
from training.errors import DataError

PREPROCESSING = Preprocessing((3, 16, 16), "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 0.9, "center")


@pytest.mark.parametrize("size", [(16, 16), (40, 23)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_preprocessing_equals_timm_to_the_last_bit(size: tuple[int, int], mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA").convert(mode)
    # crop_pct 0.9 would resize an image of the model's size too; timm does, and so must this.
    for crop_pct in (1.0, 0.9):
        ours = dataclasses.replace(PREPROCESSING, crop_pct=crop_pct)
        transform = timm.data.create_transform(**ours.data_config(), is_training=False)
        assert torch.equal(ours.normalise(ours.decode(image)[None])[0], transform(image.convert("RGB")))


def test_preprocessing_is_the_models() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1, embed_dim=12)
    found = Preprocessing.of_model(model, crop_pct=1.0, mean=None)
    assert found.input_size == (3, 32, 32)
    assert found.mean == tuple(model.pretrained_cfg["mean"])
    assert found.crop_pct == 1.0


def test_a_model_of_other_channels_is_told_of() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1, embed_dim=12, in_chans=4)
    with pytest.raises(DataError, match=r"4 channels.*model\.args\.in_chans"):
        Preprocessing.of_model(model)


@pytest.mark.parametrize("key", ["mean", "std"])
def test_statistics_of_another_number_of_channels_are_refused(key: str) -> None:
    model = timm.create_model("test_vit")
    with pytest.raises(DataError, match=rf"data\.{key} must have one value or 3 values, got 2"):
        Preprocessing.of_model(model, **{key: (0.1, 0.2)})
