"""Commands that measure a checkpoint, and that write what they find into it."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait.interpret.exemplars import load_exemplars
from ait_cli.main import app

run = CliRunner().invoke


def test_evaluate_prints_json_and_writes_the_report(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    options = ["--json", "--flip", "--report", str(tmp_path / "report"), "--reliability", str(tmp_path / "bins.png")]
    result = run(app, ["evaluate", str(checkpoint), str(labelled_images), *options])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["images"], answer["flip"], set(answer["per_class"])) == (6, True, {"ant", "cat"})
    assert {"top1", "top5", "nll", "brier", "ece", "temperature", "confusion", "reliability"} <= answer.keys()
    page = (tmp_path / "report" / "report.md").read_text()
    assert f"{answer['top1']:.2%}" in page
    # Two blocks, measured now, for no run left its history.
    assert "## Memory" in page
    assert "memory.png" not in page
    assert (tmp_path / "bins.png").is_file()
    assert "report.md" in result.stderr


def test_evaluate_prints_tables(checkpoint: Path, labelled_images: Path) -> None:
    result = run(app, ["evaluate", str(checkpoint), str(labelled_images)])
    assert result.exit_code == 0, result.output
    for text in ("top-1 accuracy", "calibration error (ECE)", "6 images, 3 classes", "ant", "cat"):
        assert text in result.stdout


def test_evaluate_compares_runtimes_side_by_side(checkpoint: Path, labelled_images: Path) -> None:
    options = ["--runtime", "torch", "--runtime", "onnxruntime", "--precision", "fp32", "--precision", "bf16"]
    result = run(app, ["evaluate", str(checkpoint), str(labelled_images), *options, "--json"])
    assert result.exit_code == 0, result.output
    found = {(each["runtime"], each["precision"]): each for each in json.loads(result.stdout)["runtimes"]}
    eager = found["torch", "fp32"]
    assert found["onnxruntime", "fp32"] == eager | {
        "runtime": "onnxruntime",
        "nll": pytest.approx(eager["nll"], abs=1e-4),
    }
    assert eager["same_label"] == 1.0
    assert "does not compute in bf16" in found["onnxruntime", "bf16"]["reason"]
    assert found["torch", "bf16"]["nll"] == pytest.approx(eager["nll"], abs=0.1)


def test_calibrate_and_exemplars_write_into_the_checkpoint(
    checkpoint: Path, labelled_images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    result = run(app, ["calibrate", str(folder), str(labelled_images)])
    assert result.exit_code == 0, result.output
    temperature = json.loads((folder / "config.json").read_text())["temperature"]
    assert f"temperature {temperature:.4f}, fitted to 6 images" in result.stdout
    result = run(app, ["evaluate", str(folder), str(labelled_images)])
    assert "the checkpoint's temperature" in result.stdout
    assert f"{temperature:.3f}" in result.stdout
    result = run(app, ["exemplars", str(folder), str(labelled_images), "--per-class", "2"])
    assert result.exit_code == 0, result.output
    assert "exemplars.safetensors (4 images, 0.0" in result.stdout
    # The model's third class has no images; it was told of by name, so the others keep their labels.
    exemplars = load_exemplars(folder)
    assert exemplars is not None
    assert exemplars.labels.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("command", ["calibrate", "exemplars"])
def test_annotating_refuses_what_is_no_checkpoint_or_no_data(command: str, checkpoint: Path, tmp_path: Path) -> None:
    result = run(app, [command, str(tmp_path), str(tmp_path)])
    assert result.exit_code == 1
    assert "is not a checkpoint: it lacks config.json" in result.stderr
    result = run(app, [command, str(checkpoint), str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
