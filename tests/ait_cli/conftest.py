"""A small checkpoint and small images for the commands to work on."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

import ait  # noqa: F401  # registers the ait_* models with timm


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained AiT model of three classes, as the trainer saves one."""
    size = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("ait_tiny_patch4_32", num_classes=3, **size)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_for_hf(
        model, folder, model_config={"label_names": ["ant", "bee", "cat"]}, model_args=size, safe_serialization=True
    )
    return folder


@pytest.fixture(scope="session")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of noise, 40 pixels wide and 48 high."""
    path = tmp_path_factory.mktemp("image") / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def labelled_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images per class, of two of the checkpoint's classes."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(1)
    for name in ("ant", "cat"):
        (root / name).mkdir()
        for index in range(3):
            pixels = generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root
