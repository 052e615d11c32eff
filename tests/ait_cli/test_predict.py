"""Labels of image files, and of files that are none."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_predict_prints_the_labels_of_an_image(checkpoint: Path, image_file: Path) -> None:
    result = run(app, ["predict", str(image_file), "--model", str(checkpoint), "--top-k", "3", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert {entry["label"] for entry in answer["labels"]} == {"ant", "bee", "cat"}
    assert sum(entry["score"] for entry in answer["labels"]) == pytest.approx(1, abs=1e-5)


def test_predict_goes_on_after_a_broken_file_and_fails_at_the_end(
    checkpoint: Path, image_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    result = run(app, ["predict", str(broken), str(image_file), "--model", str(checkpoint)])
    assert result.exit_code == 1
    assert str(broken) in result.stderr
    assert str(image_file) in result.stdout


def test_a_missing_image_is_named(checkpoint: Path) -> None:
    result = run(app, ["predict", "nowhere.png", "--model", str(checkpoint)])
    assert result.exit_code == 1
    assert "nowhere.png" in result.stderr
