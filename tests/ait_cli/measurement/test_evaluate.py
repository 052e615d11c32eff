"""Commands that measure a checkpoint, and that write what they find into it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from ait.interpret.exemplars import load_exemplars
from ait_cli.main import app
from ait_lite.checkpoint import bundled_models

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
    assert "the checkpoint is not calibrated" in result.stderr
    assert "top-5" not in result.stdout
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


@pytest.fixture
def both_splits(labelled_images: Path, tmp_path: Path) -> Path:
    """The same images to teach and to ask about."""
    root = tmp_path / "data"
    for split in ("train", "test"):
        shutil.copytree(labelled_images, root / split)
    return root


def test_evaluate_puts_readouts_beside_the_head(checkpoint: Path, both_splits: Path) -> None:
    words = ["evaluate", str(checkpoint), str(both_splits), "--readout", "prototype", "--readout", "ridge"]
    result = run(app, [*words, "--random-features", "8", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [each["readout"] for each in found["readouts"]] == ["ridge", "prototype"]
    assert (found["examples"], found["images"], found["per_class"]) == (6, 6, None)
    assert found["random_features"] in (0, 8)
    head = json.loads(run(app, ["evaluate", str(checkpoint), str(both_splits), "--json"]).stdout)["top1"]
    assert found["head"]["accuracy"] == pytest.approx(head)
    for each in found["readouts"]:
        compared = each["against_head"]
        assert compared["difference"] == pytest.approx(each["accuracy"] - head)
        assert compared["interval"][0] <= compared["difference"] <= compared["interval"][1]

    result = run(app, ["evaluate", str(checkpoint), str(both_splits), "--readout", "all", "--per-class", "2"])
    assert result.exit_code == 0, result.output
    table = " ".join(result.stdout.split())
    assert "6 images, asked of a memory of 4 examples of 2 classes" in table
    for name in ("head", "ridge", "hopfield", "prototype"):
        assert f" {name} " in table


def test_evaluate_says_why_there_is_no_head_beside_readouts(checkpoint: Path, both_splits: Path) -> None:
    for split in ("train", "test"):
        (both_splits / split / "ant").rename(both_splits / split / "dog")
    result = run(app, ["evaluate", str(checkpoint), str(both_splits), "--readout", "ridge", "--random-features", "8"])
    assert result.exit_code == 0, result.output
    assert "no head to compare with: " in result.stdout
    assert "dog" in result.stdout
    assert "whose leave-one-out error is smaller" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--readout", "all", "--flip"], "leave out --source, --flip"),
        (["--readout", "all", "--runtime", "torch"], "leave out --source, --flip"),
        (["--readout", "all", "--source", "table"], "leave out --source, --flip"),
        (["--per-class", "3"], "name a readout, or all"),
        (["--random-features", "3"], "name a readout, or all"),
        (["--readout", "ridge"], "has no train folder to teach"),
        (["--runtime", "torch", "--flip"], "--runtime and --precision compare accuracy"),
    ],
)
def test_evaluate_refuses_what_does_not_go_together(
    options: list[str], said: str, checkpoint: Path, labelled_images: Path
) -> None:
    result = run(app, ["evaluate", str(checkpoint), str(labelled_images), *options])
    assert result.exit_code == 1
    assert said in result.stderr


def test_readouts_need_images(checkpoint: Path, both_splits: Path, tmp_path: Path) -> None:
    result = run(app, ["evaluate", str(checkpoint), "--readout", "ridge"])
    assert result.exit_code == 1
    assert "name DATA" in result.stderr
    result = run(
        app, ["evaluate", str(checkpoint), str(both_splits), "--readout", "ridge", "--only", str(tmp_path / "nowhere")]
    )
    assert result.exit_code == 1
    assert "nowhere: No such file" in result.stderr


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


@pytest.mark.parametrize("option", [["--flip"], ["--source", "triangle"], ["--layout", "classes"]])
def test_what_is_for_one_class_an_image_is_refused_for_several(
    option: list[str], checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "several")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"multi_label": True}))
    result = run(app, ["evaluate", str(folder), str(tmp_path / "table.csv"), *option])
    assert result.exit_code == 1
    assert "are for models with exactly one class per image" in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["calibrate", "exemplars"])
def test_annotating_refuses_what_is_no_checkpoint_or_no_data(command: str, checkpoint: Path, tmp_path: Path) -> None:
    result = run(app, [command, str(tmp_path), str(tmp_path)])
    assert result.exit_code == 1
    assert "is not a checkpoint: it lacks config.json" in result.stderr
    result = run(app, [command, str(checkpoint), str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "nowhere" in result.stderr


@pytest.mark.parametrize("command", ["calibrate", "exemplars"])
def test_a_bundled_model_is_copied_and_never_written_to(command: str, tmp_path: Path) -> None:
    name, bundled = next(iter(bundled_models().items()))
    before = {path.name: path.read_bytes() for path in bundled.iterdir()}
    images = tmp_path / "images"
    for label in ("cat", "frog"):
        (images / label).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (32, 32), (0, 60 * index, 99)).save(images / label / f"{index}.png")
    for reference in (name, str(bundled)):
        result = run(app, [command, reference, str(images)])
        assert result.exit_code == 1
        assert "came with the package and is not written to: pass --output FOLDER" in result.stderr
    result = run(app, [command, name, str(images), "--output", str(tmp_path / "mine")])
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in bundled.iterdir()} == before
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == before["model.safetensors"]
    changed = {"calibrate": "config.json", "exemplars": "exemplars.safetensors"}[command]
    assert (tmp_path / "mine" / changed).read_bytes() != before[changed]
    result = run(app, [command, name, str(images), "--output", str(tmp_path / "mine")])
    assert result.exit_code == 1
    assert "is not an empty folder" in result.stderr


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "exemplars"])
def test_the_layout_can_be_said(command: str, checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    for split in ("train", "val"):
        shutil.copytree(labelled_images, root / split)
    (root / "notes" / "old").mkdir(parents=True)
    result = run(app, [command, str(folder), str(root)])
    assert result.exit_code == 1
    assert "--layout splits" in result.stderr
    result = run(app, [command, str(folder), str(root), "--layout", "splits"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("home", [None, "file"])
def test_a_home_that_is_missing_or_cannot_be_written_costs_nothing(
    home: str | None, checkpoint: Path, labelled_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    if home is None:  # as of a user number without a name, where containers run
        monkeypatch.setattr(Path, "home", classmethod(_no_home))
    else:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    result = run(app, ["evaluate", str(checkpoint), str(labelled_images), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 6
    assert list((tmp_path / "temporary" / f"ait-images-{os.getuid()}").glob("*.npy"))


def _no_home(_: type[Path]) -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_what_cannot_be_written_is_said_before_the_work(checkpoint: Path, tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("")
    nothing = str(tmp_path / "nothing")  # images that the work would miss
    for options in (
        ["--report", str(file / "x")],
        ["--confusion", str(file / "x.png")],
        ["--reliability", str(tmp_path)],
    ):
        result = run(app, ["evaluate", str(checkpoint), nothing, *options])
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: {options[1]}: cannot be written (")
    result = run(app, ["compare", nothing, nothing, "-o", str(tmp_path / "nowhere" / "x.csv")])
    assert (result.exit_code, "nowhere/x.csv: cannot be written (" in result.stderr) == (1, True)
    assert sorted(tmp_path.iterdir()) == [file]
