"""What the benchmark of models counts."""

from io import StringIO
from typing import cast

import pytest
import torch
from rich.console import Console

from ait.benchmark import benchmark_model, model
from ait_cli.measurement.tables import model_table


def test_it_counts_the_multiply_adds_of_a_plain_vit() -> None:
    result = benchmark_model("ait_tiny_patch4_32", [2], ["fp32"], ["forward"], seconds=0.01, rounds=1)
    vit = result.measurements[1]
    tokens, width, hidden, depth = 64, 192, 768, 4
    block = tokens * width * (4 * width + 2 * hidden) + 2 * tokens * tokens * width
    expected = 2 * (depth * block + tokens * width * 48 + width * 10)
    assert vit.gflop_per_image == pytest.approx(expected / 1e9, rel=1e-6)


def test_graphs_of_both_models_are_timed_too() -> None:
    result = benchmark_model(
        "ait_tiny_patch4_32", [2], ["fp32"], ["forward"], seconds=0.01, rounds=1, runtimes=["torch", "openvino"]
    )
    assert not result.left_out
    assert [(found.model.partition(" ")[0], found.runtime) for found in result.measurements] == [
        ("ait_tiny_patch4_32", "torch"),
        ("ait_tiny_patch4_32", "openvino"),
        ("vit", "torch"),
        ("vit", "openvino"),
    ]
    assert all(found.agreement is not None for found in result.measurements if found.runtime == "openvino")


class Product:
    """A matrix product that takes no time: those in bf16 take long where there is no arithmetic for it."""

    best, name = 1.0, "torch"

    def __init__(self, dtype: torch.dtype, device: str) -> None:
        pass

    def __call__(self) -> float:
        return 1.0


def test_torch_in_bf16_tells_how_far_it_agrees_without_any_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MatrixProduct", Product)
    result = benchmark_model(
        "ait_tiny_patch4_32", [1], ["fp32", "bf16"], ["forward", "train"], seconds=0.01, rounds=1, runtimes=["torch"]
    )
    for found in result.measurements:
        if found.precision == "fp32":
            assert found.agreement is None
        else:
            assert found.agreement is not None
            assert found.agreement.largest_difference > 0
            assert found.agreement.same_label > 0.5
    table = Console(file=StringIO(), width=140)
    table.print(model_table(result.to_dict()))
    printed = cast(StringIO, table.file).getvalue()
    assert all("%" in line for line in printed.splitlines() if " bf16 │" in line)
    assert printed.count("%") == 4
