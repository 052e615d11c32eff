"""Priors against classes, by command."""

from pathlib import Path

from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_priors_are_mapped_to_the_classes_of_labelled_images(
    checkpoint: Path, image_file: Path, labelled_images: Path, tmp_path: Path
) -> None:
    target = tmp_path / "memory.png"
    result = run(
        app, ["inspect", str(checkpoint), str(image_file), "-o", str(target), "--priors", str(labelled_images)]
    )
    assert result.exit_code == 0, result.output
    assert "on 6 images: accuracy" in result.output
    assert (tmp_path / "memory.priors.png").read_bytes().startswith(b"\x89PNG")


def test_classes_that_the_model_does_not_know_are_refused(checkpoint: Path, image_file: Path, tmp_path: Path) -> None:
    for name in ("ant", "wasp"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "0.png").write_bytes(image_file.read_bytes())
    result = run(
        app,
        [
            "inspect",
            str(checkpoint),
            str(image_file),
            "-o",
            str(tmp_path / "a.png"),
            "--priors",
            str(tmp_path / "images"),
        ],
    )
    assert result.exit_code == 1
    assert "wasp" in result.output
