"""The command line is a thin layer: it reaches the functions, and its errors name the input and the remedy."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
from PIL import Image
from timm.models import save_for_hf
from typer.testing import CliRunner

import ait
from ait.interpret.exemplars import load_exemplars
from ait_cli.main import app

run = CliRunner().invoke


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained AiT model of three classes, as the trainer saves one."""
    size = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    model = timm.create_model("ait_tiny_patch4_32", num_classes=3, **size)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_for_hf(
        model, folder, model_config={"label_names": ["ant", "bee", "cat"]}, model_args=size, safe_serialization=True
    )
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)).save(path)
    return path


def test_help_names_every_command() -> None:
    text = run(app, ["--help"]).output
    for command in ("train", "evaluate", "calibrate", "exemplars", "predict", "inspect", "export", "serve", "bench"):
        assert command in text


def test_train_help_explains_the_recipe_keys() -> None:
    text = run(app, ["train", "--help"]).output
    for key in ("data.root", "optimizer.lr", "epochs", "cifar10_cpu"):
        assert key in text


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures a class, of two of the checkpoint's classes."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(1)
    for name in ("ant", "cat"):
        (root / name).mkdir()
        for index in range(3):
            pixels = generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def test_evaluate_prints_json_and_writes_the_report(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    options = ["--json", "--flip", "--report", str(tmp_path / "report"), "--reliability", str(tmp_path / "bins.png")]
    result = run(app, ["evaluate", str(checkpoint), str(photos), *options])
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


def test_evaluate_prints_tables(checkpoint: Path, photos: Path) -> None:
    result = run(app, ["evaluate", str(checkpoint), str(photos)])
    assert result.exit_code == 0, result.output
    for text in ("top-1 accuracy", "calibration error (ECE)", "6 images, 3 classes", "ant", "cat"):
        assert text in result.stdout


def test_calibrate_and_exemplars_write_into_the_checkpoint(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    result = run(app, ["calibrate", str(folder), str(photos)])
    assert result.exit_code == 0, result.output
    temperature = json.loads((folder / "config.json").read_text())["temperature"]
    assert f"temperature {temperature:.4f}, fitted to 6 images" in result.stdout
    result = run(app, ["evaluate", str(folder), str(photos)])
    assert "the checkpoint's temperature" in result.stdout
    assert f"{temperature:.3f}" in result.stdout
    result = run(app, ["exemplars", str(folder), str(photos), "--per-class", "2"])
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


def test_predict_prints_the_labels_of_a_picture(checkpoint: Path, photo: Path) -> None:
    result = run(app, ["predict", str(photo), "--model", str(checkpoint), "--top-k", "3", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert {entry["label"] for entry in answer["labels"]} == {"ant", "bee", "cat"}
    assert sum(entry["score"] for entry in answer["labels"]) == pytest.approx(1, abs=1e-5)


def test_predict_goes_on_after_a_broken_file_and_fails_at_the_end(
    checkpoint: Path, photo: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    result = run(app, ["predict", str(broken), str(photo), "--model", str(checkpoint)])
    assert result.exit_code == 1
    assert str(broken) in result.stderr
    assert str(photo) in result.stdout


def test_inspect_draws_the_memory(checkpoint: Path, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "memory.png"
    result = run(app, ["inspect", str(checkpoint), str(photo), "-o", str(target)])
    assert result.exit_code == 0, result.output
    with Image.open(target) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > drawn.height > 300
    assert "rank(priors)" in result.stdout


@pytest.mark.parametrize("command", ["inspect", "predict"])
def test_a_missing_picture_is_named(command: str, checkpoint: Path) -> None:
    arguments = (
        [str(checkpoint), "nowhere.png"] if command == "inspect" else ["nowhere.png", "--model", str(checkpoint)]
    )
    result = run(app, [command, *arguments])
    assert result.exit_code == 1
    assert "nowhere.png" in result.stderr


def test_inspect_refuses_a_model_without_memory(photo: Path, tmp_path: Path) -> None:
    save_for_hf(timm.create_model("test_vit", num_classes=2), tmp_path, safe_serialization=True)
    result = run(app, ["inspect", str(tmp_path), str(photo)])
    assert result.exit_code == 1
    assert "no associative memory" in result.stderr


def test_a_missing_model_is_named_with_what_there_is(photo: Path) -> None:
    result = run(app, ["inspect", "no_such_model", str(photo)])
    assert result.exit_code == 1
    assert "no_such_model" in result.stderr


def test_bench_model_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    options = ["--batch-size", "1", "--precision", "fp32", "--seconds", "0.01", "-o", str(target)]
    result = run(app, ["bench", "model", "ait_tiny_patch4_32", *options])
    assert result.exit_code == 0, result.output
    cases = json.loads(target.read_text())["measurements"]
    assert [(case["phase"], case["model"].split(" ")[0]) for case in cases] == [
        ("forward", "ait_tiny_patch4_32"),
        ("forward", "vit"),
        ("train", "ait_tiny_patch4_32"),
        ("train", "vit"),
    ]
    assert all(case["images_per_second"] > 0 and case["gemm_fraction"] > 0 for case in cases)


def test_bench_counts_the_multiply_adds_of_a_plain_vit(tmp_path: Path) -> None:
    from ait.benchmark import benchmark_model

    result = benchmark_model("ait_tiny_patch4_32", [2], ["fp32"], ["forward"], seconds=0.01, rounds=1)
    vit = result.measurements[1]
    tokens, width, hidden, depth = 64, 192, 768, 4
    block = tokens * width * (4 * width + 2 * hidden) + 2 * tokens * tokens * width
    expected = 2 * (depth * block + tokens * width * 48 + width * 10)
    assert vit.gflop_per_image == pytest.approx(expected / 1e9, rel=1e-6)


def test_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert ait.__version__ == version("associative-transformer")
