"""Capacity by command."""

import json
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
