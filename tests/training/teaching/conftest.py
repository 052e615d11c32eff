"""A small model with images that it has not seen."""

from pathlib import Path

import pytest

from tests.support.images.training_images import write_images
from tests.support.models.small_checkpoints import save_small_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_images(root / "taught", 8, seed=3)
    write_images(root / "asked", 4, seed=4)
    return root
