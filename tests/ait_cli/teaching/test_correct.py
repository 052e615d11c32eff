"""Corrections by command."""

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_correct_predict_withdraw(checkpoint: Path, image_file: Path, labelled_images: Path, tmp_path: Path) -> None:
    model = str(shutil.copytree(checkpoint, tmp_path / "model"))

    def answer() -> str:
        result = run(app, ["predict", str(image_file), "--model", model, "--top-k", "3", "--json"])
        return json.loads(result.stdout)["labels"][0]["label"]

    before = answer()
    right = "bee" if before != "bee" else "ant"
    result = run(app, ["correct", model, str(image_file), "--label", right, "--data", str(labelled_images)])
    assert result.exit_code == 0, result.output
    assert "corrected: 1 image (0 right already)" in result.stdout
    assert answer() == right
    result = run(app, ["correct", model, "--withdraw", "--json"])
    assert json.loads(result.stdout) == {"withdrawn": 1}
    assert answer() == before


def test_correct_says_what_it_needs(checkpoint: Path, image_file: Path) -> None:
    result = run(app, ["correct", str(checkpoint), str(image_file), "--label", "ant"])
    assert result.exit_code == 1
    assert "--data" in result.stderr
    result = run(app, ["correct", str(checkpoint), "--withdraw", "--output", "copy"])
    assert result.exit_code == 1
    assert "leave out --output" in result.stderr


def test_what_came_with_the_package_is_not_corrected_in_place(image_file: Path, labelled_images: Path) -> None:
    words = [
        "correct",
        "ait_tiny_patch4_32.cifar10",
        str(image_file),
        "--label",
        "cat",
        "--data",
        str(labelled_images),
    ]
    result = run(app, words)
    assert result.exit_code == 1
    assert "came with the package" in result.stderr
