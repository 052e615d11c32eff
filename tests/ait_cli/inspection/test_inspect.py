"""The drawing of a memory, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import timm
from PIL import Image
from timm.models import save_for_hf
from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_inspect_draws_the_memory(checkpoint: Path, image_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "memory.png"
    result = run(app, ["inspect", str(checkpoint), str(image_file), "-o", str(target)])
    assert result.exit_code == 0, result.output
    with Image.open(target) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > drawn.height > 300
    assert "rank(priors)" in result.stdout
    assert "if the blocks retrieved nothing" in result.stdout


def test_inspect_tells_what_is_lost_without_the_memory(
    checkpoint: Path, image_file: Path, labelled_images: Path, tmp_path: Path
) -> None:
    target = ["-o", str(tmp_path / "memory.png")]
    result = run(app, ["inspect", str(checkpoint), str(image_file), *target, "--data", str(labelled_images)])
    assert result.exit_code == 0, result.output
    assert "on 6 images" in result.stdout
    assert "retrieval off" in result.stdout
    result = run(app, ["inspect", str(checkpoint), str(image_file), *target, "--data", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "nowhere" in result.stderr


def test_the_drawing_goes_into_the_working_directory(
    checkpoint: Path, image_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, ["inspect", str(checkpoint), str(image_file)])
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["image.memory.png"]
    assert [path.name for path in image_file.parent.iterdir()] == ["image.png"]


def test_an_image_that_cannot_be_used_is_named(checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    for path in (tmp_path / "nowhere.png", broken):
        result = run(app, ["inspect", str(checkpoint), str(path)])
        assert result.exit_code == 1
        assert f"error: {path}: " in result.stderr


def test_inspect_refuses_a_model_without_memory(image_file: Path, tmp_path: Path) -> None:
    save_for_hf(timm.create_model("test_vit", num_classes=2), tmp_path, safe_serialization=True)
    result = run(app, ["inspect", str(tmp_path), str(image_file)])
    assert result.exit_code == 1
    assert "no associative memory" in result.stderr
    result = run(app, ["inspect", str(tmp_path), "--data", str(image_file.parent)])
    assert result.exit_code == 1
    assert "no associative memory" in result.stderr


def test_a_missing_model_is_named_with_what_there_is(image_file: Path) -> None:
    result = run(app, ["inspect", "no_such_model", str(image_file)])
    assert result.exit_code == 1
    assert "no_such_model" in result.stderr


def test_a_bad_checkpoint_and_an_unwritable_drawing_are_named(
    checkpoint: Path, image_file: Path, tmp_path: Path
) -> None:
    result = run(app, ["inspect", str(checkpoint), str(image_file), "-o", str(tmp_path / "nowhere" / "x.png")])
    assert (result.exit_code, "cannot be written" in result.stderr) == (1, True)
    for file, content, message in (
        ("model.safetensors", b"torn", ": cannot be loaded (model.safetensors is damaged"),
        ("config.json", b"{", "/config.json cannot be read: "),
        ("config.json", b"{}", ": cannot be loaded ("),
    ):
        folder = tmp_path / "bad"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(checkpoint, folder)
        (folder / file).write_bytes(content)
        result = run(app, ["inspect", str(folder), str(image_file)])
        assert result.exit_code == 1
        assert f"error: {folder}{message}" in result.stderr
    (folder / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    (folder / "model.safetensors").unlink()
    result = run(app, ["inspect", str(folder), str(image_file)])
    assert result.exit_code == 1
    assert "cannot be loaded" in result.stderr


def test_inspect_ffn_draws_the_keys_of_every_network(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    target = tmp_path / "ffn"
    result = run(app, ["inspect", str(checkpoint), "--ffn", "--data", str(labelled_images), "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in target.iterdir()) == ["blocks.0.mlp.png", "blocks.1.mlp.png", "keys.json"]
    told = json.loads((target / "keys.json").read_text())
    assert len(told[0]["strongest"]) == 128
    assert Path(told[0]["strongest"]["0"][0]).is_file()


def test_inspect_ffn_refuses_a_file_as_its_folder(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.touch()
    result = run(app, ["inspect", str(checkpoint), "--ffn", "--data", str(labelled_images), "-o", str(target)])
    assert result.exit_code == 1
    assert f"{target}: cannot be made a folder" in result.stderr


def test_inspect_needs_an_image_or_a_folder(checkpoint: Path) -> None:
    assert "--data" in run(app, ["inspect", str(checkpoint), "--ffn"]).stderr
    assert "name an image" in run(app, ["inspect", str(checkpoint)]).stderr
