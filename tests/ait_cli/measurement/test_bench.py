"""Benchmarks print a table and write JSON."""

import json
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


def test_bench_model_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    options = [
        "--batch-size",
        "1",
        "--precision",
        "fp32",
        "--runtime",
        "torch",
        "--seconds",
        "0.01",
        "-o",
        str(target),
    ]
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


def test_a_model_that_there_is_not_is_told_with_its_neighbours() -> None:
    result = run(app, ["bench", "model", "ait_smal_patch4_32"])
    assert result.exit_code == 1
    assert "did you mean 'ait_small_patch4_32'" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["model", "ait_tiny_patch4_32", "--precision", "fp32", "--runtime", "torch", "--seconds", "0.01"],
        ["training", "cifar10_cpu"],
        ["predict"],
        ["memory"],
        ["service"],
        ["recall"],
    ],
    ids=lambda words: words[0],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object, **__: object) -> NoReturn:
        raise AssertionError("measured all the same")

    for name in (
        "ait.benchmark.benchmark_model",
        "ait.file_prediction_benchmark.benchmark_prediction",
        "training.benchmark.throughput.benchmark_training",
        "training.benchmark.memory_speed.time_memory",
        "service.benchmark.benchmark.benchmark_service",
        "service.benchmark.recall.benchmark_recall",
    ):
        monkeypatch.setattr(name, measure)
    target = tmp_path / "missing" / "bench.json"
    result = run(app, ["bench", *words, "-o", str(target)])
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {target}: cannot be written (No such file or directory); name another.\n",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--phase", "train", "--runtime", "openvino"], "Only torch trains, not openvino"),
        (["--precision", "int8", "--runtime", "torch"], "Torch has no int8"),
        (["--device", "banana"], "--device banana cannot be used"),
    ],
)
def test_bench_model_refuses_what_would_time_nothing(words: list[str], said: str) -> None:
    result = run(app, ["bench", "model", "ait_tiny_patch4_32", *words])
    assert result.exit_code == 1
    assert said in result.stderr
    assert not result.stdout


def test_bench_memory_times_and_compares_with_a_probe(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "data" / split).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / split).symlink_to(labelled_images)
    target = tmp_path / "bench.json"
    words = ["bench", "memory", str(checkpoint), str(tmp_path / "data"), "--examples", "50", "--per-class", "3"]
    result = run(app, [*words, "--width", "8", "--draws", "2", "-o", str(target)])
    assert result.exit_code == 0, result.output
    found = json.loads(target.read_text())
    assert found["speed"][0]["recall_1"] > 0
    (accuracy,) = found["accuracy"]
    assert (accuracy["images"], accuracy["draws"]) == (6, 2)
    assert set(accuracy["accuracy"]) == {"ridge", "hopfield", "associative", "prototype", "linear probe"}
    # The images asked about are those it was fitted to, in both draws.
    assert (accuracy["accuracy"]["linear probe"], accuracy["deviation"]["linear probe"]) == (1.0, 0.0)
    assert found["unknown"] is None  # of two classes none can be held out


def test_bench_memory_needs_a_model_and_data(checkpoint: Path) -> None:
    result = run(app, ["bench", "memory", str(checkpoint)])
    assert result.exit_code == 1
    assert "both" in result.stderr


def test_bench_predict_prints_a_table_and_writes_json(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    options = ["--small", "3", "--photos", "1", "--rounds", "1", "-o", str(target)]
    result = run(app, ["bench", "predict", str(checkpoint), *options])
    assert result.exit_code == 0, result.output
    assert "of the plain loop's rate" in " ".join(result.output.replace("┃", " ").split())
    assert [(rate["count"], rate["share"] > 0) for rate in json.loads(target.read_text())["rates"]] == [
        (3, True),
        (1, True),
    ]
