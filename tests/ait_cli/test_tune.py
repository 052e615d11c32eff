"""Commands that find settings."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ait_cli.main import app
from tests.support.images.training_images import write_images

run = CliRunner().invoke


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of one short epoch."""
    write_images(tmp_path / "images", 6, seed=1)
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    path = tmp_path / "recipe.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "data": {"root": str(tmp_path / "images"), "cache": str(tmp_path / "cache"), "workers": 0},
                "model": {"name": "vit_tiny_patch16_224", "args": size},
                "output": str(tmp_path / "found"),
                "schedule": {"warmup_epochs": 0},
                "augment": {"crop_padding": 0},
                "batch_size": 8,
                "exemplars": 0,
                "figures": False,
            }
        )
    )
    return path


def test_train_suggests_a_learning_rate(recipe: Path, tmp_path: Path) -> None:
    result = run(app, ["train", str(recipe), "--find-lr"])
    assert result.exit_code == 0, result.output
    assert re.match(r"optimizer\.lr=\S+ \(after \d+ updates ", result.stdout)
    assert (tmp_path / "found-lr.png").is_file()
    assert not (tmp_path / "found").exists()
    refused = run(app, ["train", str(recipe), "--find-lr", "--dry-run"])
    assert refused.exit_code == 2


def test_tune_prints_its_trials_and_the_best(recipe: Path, tmp_path: Path) -> None:
    asked = ["tune", str(recipe), "--range", "lr=1e-4..1e-2:log", "--trials", "2"]
    result = run(app, asked)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("complete") == 2
    best = re.search(r"best: trial \d, .*; (\S+)", result.stdout)
    assert best is not None
    assert (Path(best[1]) / "config.json").is_file()
    refused = run(app, asked)
    assert (refused.exit_code, "--resume auto" in refused.stderr) == (1, True)
    refused = run(app, ["tune", str(recipe)])
    assert (refused.exit_code, "no --range" in refused.stderr) == (1, True)
