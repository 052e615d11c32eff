"""A data folder with planted faults, and a model that has not seen it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.images.training_images import write_images
from tests.support.models.small_checkpoints import save_small_checkpoint
from training.audit import Audit, audit


@pytest.fixture(scope="session")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes by colour, with a leak, a near leak, a conflict, a copy and a wrong label."""
    root = tmp_path_factory.mktemp("dirty")
    write_images(root / "train", 12, seed=5)
    write_images(root / "test", 6, seed=6)
    shutil.copy(root / "train" / "ant" / "000.png", root / "test" / "ant" / "leaked.png")
    shutil.copy(root / "train" / "bee" / "001.png", root / "train" / "cat" / "conflict.png")
    shutil.copy(root / "train" / "cat" / "002.png", root / "train" / "cat" / "copy.png")
    shutil.move(root / "train" / "bee" / "003.png", root / "train" / "ant" / "wrong.png")
    saved_anew = Image.open(root / "train" / "bee" / "004.png")
    Image.fromarray(np.clip(np.asarray(saved_anew) + 1, 0, 255).astype(np.uint8)).save(root / "test/bee/brighter.png")
    return root


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="session")
def audited(checkpoint: Path, dirty: Path, output: Path, cache: Path) -> Audit:
    return audit(checkpoint, dirty, output, cache=cache)
