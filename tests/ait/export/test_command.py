"""`ait export` writes a checkpoint as a file, or says why it cannot."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_the_command_exports_a_checkpoint(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    result = run(app, ["export", str(checkpoint), str(tmp_path / "new" / "model.pt2"), "--images", str(photos)])
    assert result.exit_code == 0, result.output
    assert "5 images" in result.stdout
    assert "largest difference" in result.stdout
    result = run(app, ["export", str(checkpoint), str(tmp_path / "hub"), "--format", "hub", "--license", "mit"])
    assert result.exit_code == 0, result.output
    assert "generated images" in result.stdout
    assert "| validation_accuracy | 0.5000 |" in (tmp_path / "hub" / "README.md").read_text()
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["temperature"] == 1.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CHECKPOINT", "model.bin"], "model.bin: the ending names no format"),
        (["CHECKPOINT", "model.pt2", "--format", "onnx"], "a file of the format onnx ends in .onnx"),
        (["CHECKPOINT", "model.pt2", "--license", "mit"], "--license"),
        (["CHECKPOINT", "hub", "--format", "hub", "--probabilities"], "--probabilities"),
        (["no_such_model", "model.pt2"], "no_such_model"),
        (["CHECKPOINT", "model.pt2", "--images", "nowhere"], "nowhere: no such file or folder"),
        (["CHECKPOINT", "model.onnx", "--tolerance", "0"], "refused and deleted"),
    ],
)
def test_the_command_refuses_with_the_reason(
    arguments: list[str], message: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, ["export", *(str(checkpoint) if part == "CHECKPOINT" else part for part in arguments)])
    assert result.exit_code == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_torn_checkpoint_is_named(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        whole = (checkpoint / name).read_bytes()
        (tmp_path / name).write_bytes(whole if name == "config.json" else whole[: len(whole) // 2])
    result = run(app, ["export", str(tmp_path), str(tmp_path / "model.pt2")])
    assert result.exit_code == 1
    assert f"{tmp_path}: cannot be loaded" in result.stderr
    assert not (tmp_path / "model.pt2").exists()
