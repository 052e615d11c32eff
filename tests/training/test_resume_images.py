"""A run does not go on with other images than it began with: some that were trained on would validate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.images.service_images import scene
from training.errors import CheckpointError
from training.recipe.keys import Recipe
from training.run.trainer import train


def test_added_moved_and_removed_images_are_refused_by_name(
    make_recipe: Callable[..., Recipe], data_root: Path, tmp_path: Path, quiet: Console
) -> None:
    root = tmp_path / "data"
    shutil.copytree(data_root / "train", root)
    recipe = make_recipe(epochs=1, data={"root": str(root), "cache": str(tmp_path / "cache")})
    train(recipe, console=quiet)
    longer = recipe.model_copy(update={"epochs": 2})
    scene().save(root / "ant" / "new.png")
    with pytest.raises(CheckpointError, match=r"images of the run in .* have changed: .*1 new \(ant/new\.png\)"):
        train(longer, resume=True, console=quiet)
    (root / "ant" / "new.png").rename(tmp_path / "aside.png")
    (root / "ant" / "000.png").rename(root / "bee" / "moved.png")
    with pytest.raises(CheckpointError, match=r"1 new \(bee/moved\.png\).*1 gone or renamed"):
        train(longer, resume=True, console=quiet)
    (root / "bee" / "moved.png").rename(root / "ant" / "000.png")
    assert len(train(longer, resume=True, console=quiet).history) == 2
