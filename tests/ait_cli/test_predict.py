"""Labels of image files and of folders, and of files that are none."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from ait_cli.main import app
from ait_lite.checkpoint import bundled_models


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


@pytest.fixture
def photos(image_file: Path, tmp_path: Path) -> Path:
    """A folder of four images at several depths, two hidden ones, and a file that is no image."""
    folder = tmp_path / "photos"
    generator = np.random.default_rng(0)
    for name in ("a.png", "deep/er/b.jpg", "deep/c.bmp", "2\n.png", ".thumbnails/a.png", "@eaDir/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("hello")
    return folder


def test_predict_prints_the_labels_of_an_image(checkpoint: Path, image_file: Path) -> None:
    result = run(image_file, "--model", checkpoint, "--top-k", 3, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert {entry["label"] for entry in answer["labels"]} == {"ant", "bee", "cat"}
    assert sum(entry["score"] for entry in answer["labels"]) == pytest.approx(1, abs=1e-5)


def test_a_folder_is_searched_for_images(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    result = run(photos, "--model", checkpoint, "--output", tmp_path / "x.jsonl", "--batch-size", 2)
    assert result.exit_code == 0, result.output
    assert "1 files are not read as images (1 .txt)" in result.stderr
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    names = [str(Path(line["path"]).relative_to(photos)) for line in lines]
    assert names == ["2\n.png", "a.png", "deep/c.bmp", "deep/er/b.jpg"]
    assert all(line["error"] is None and len(line["labels"]) == 3 for line in lines)
    # One by one the answers are the same.
    alone = json.loads(run(photos / "a.png", "--model", checkpoint, "--format", "jsonl").stdout)
    assert [each["label"] for each in alone["labels"]] == [each["label"] for each in lines[1]["labels"]]


def test_a_table_has_a_row_per_file(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "torn.png").write_bytes((photos / "a.png").read_bytes()[:100])
    result = run(photos, "--model", checkpoint, "--top-k", 2, "--output", tmp_path / "x.csv")
    assert result.exit_code == 1
    assert "torn.png: The file is damaged" in result.stderr
    assert "1 of 5 files cannot be used" in result.stderr
    rows = list(csv.DictReader((tmp_path / "x.csv").open(newline="")))
    assert list(rows[0]) == ["path", "label_1", "score_1", "label_2", "score_2", "error"]
    assert [row["path"].rpartition("/")[2] for row in rows] == ["2\n.png", "a.png", "c.bmp", "b.jpg", "torn.png"]
    assert all(float(row["score_1"]) >= float(row["score_2"]) for row in rows[:4])
    assert rows[4]["error"].startswith("The file is damaged")


def test_predict_goes_on_after_a_broken_file_and_fails_at_the_end(
    checkpoint: Path, image_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    result = run(broken, image_file, tmp_path / "nowhere.png", "--model", checkpoint)
    assert result.exit_code == 1
    assert f"{broken}: " in result.stderr
    assert "nowhere.png: There is no such file" in result.stderr
    assert "2 of 3 files cannot be used" in result.stderr
    assert str(image_file) in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nowhere"), "nowhere: neither a bundled model"),
        (("--device", "abacus"), "--device abacus cannot be used"),
        (("--output", "x.xls"), "the ending names no format"),
        (("--output", "nowhere/x.csv"), "cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], message: str, checkpoint: Path, photos: Path) -> None:
    result = run(photos, *(("--model", checkpoint) if "--model" not in arguments else ()), *arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_folder_without_images_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "x.heic").touch()
    result = run(tmp_path, "--model", checkpoint)
    assert result.exit_code == 1
    assert "holds no images" in result.stderr
    assert "convert them to JPEG" in result.stderr


def test_the_model_comes_from_the_environment_or_is_bundled(
    checkpoint: Path, image_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIT_MODEL", str(checkpoint))
    assert "ant" in run(image_file).stdout
    monkeypatch.delenv("AIT_MODEL")
    assert "frog" in run(image_file, "--top-k", 10).stdout


def test_a_torn_checkpoint_is_named(image_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    shutil.copytree(next(iter(bundled_models().values())), folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    result = run(image_file, "--model", folder)
    assert result.exit_code == 1
    assert f"error: {folder}: cannot be loaded" in result.stderr
