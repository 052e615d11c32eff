"""What the benchmark of models counts."""

import pytest

from ait.benchmark import benchmark_model


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
