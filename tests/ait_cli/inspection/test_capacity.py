"""Capacity by command."""

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_capacity_prints_predictions_and_probes(checkpoint: Path, labelled_images: Path) -> None:
    words = ["capacity", str(checkpoint), "--most", "200"]
    result = run(app, words)
    assert result.exit_code == 0, result.output
    assert "blocks.1.mlp" in result.stdout
    assert "hint:" in result.stdout
    result = run(app, [*words, "--data", str(labelled_images), "--json"])
    told = json.loads(result.stdout)
    assert len(told["feed_forward"]) == len(told["memory"]) == 2
    assert told["changed"] is not None


def test_capacity_names_a_damaged_checkpoint(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(checkpoint, tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    result = run(app, ["capacity", str(damaged), "--data", str(labelled_images)])
    assert result.exit_code == 1
    assert "model.safetensors is damaged" in result.stderr
