"""Benchmarks print a table and write JSON."""

import json
from pathlib import Path

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
