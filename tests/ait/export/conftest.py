"""Images, and checkpoints to export."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.models import save_for_hf

from tests.support.models.exported_models import LABELS, make


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images in two class folders, one of them turned by its EXIF tag, and a text file."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for index in range(5):
        folder = root / LABELS[index % 2]
        folder.mkdir(exist_ok=True)
        image = Image.fromarray(generator.integers(0, 255, (20, 30, 3), dtype=np.uint8))
        exif = image.getexif()
        exif[0x0112] = 6 if index == 4 else 1
        image.save(folder / f"{index}.png", exif=exif)
    (root / "notes.txt").write_text("no image")
    return root


@pytest.fixture(scope="package")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    config = {"label_names": LABELS, "metrics": {"validation_accuracy": 0.5}, "temperature": 1.25}
    save_for_hf(make(), str(folder), model_config=config, safe_serialization=True)
    return folder
