"""The audit by command."""

import json
from pathlib import Path

from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_audit_writes_a_report(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    words = ["audit", str(checkpoint), str(labelled_images), "-o", str(tmp_path / "audit")]
    result = run(app, words, env={"XDG_CACHE_HOME": str(tmp_path)})
    assert result.exit_code == 0, result.output
    assert "0  The same image in two splits" in result.stdout
    assert (tmp_path / "audit" / "report.html").is_file()
    result = run(app, [*words, "--json"], env={"XDG_CACHE_HOME": str(tmp_path)})
    assert json.loads(result.stdout)["images"] == {"all": 6}


def test_audit_names_a_missing_folder(checkpoint: Path) -> None:
    result = run(app, ["audit", str(checkpoint), "nowhere"])
    assert result.exit_code == 1
    assert "nowhere" in result.stderr


def test_audit_names_a_report_that_cannot_be_written_before_it_runs_the_model(
    checkpoint: Path, labelled_images: Path, tmp_path: Path
) -> None:
    target = tmp_path / "file"
    target.touch()
    words = ["audit", str(checkpoint), str(labelled_images), "-o", str(target / "audit")]
    result = run(app, words, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert result.exit_code == 1
    assert f"{target / 'audit'}: cannot be written (Not a directory)" in result.stderr
    assert not (tmp_path / "cache").exists()
