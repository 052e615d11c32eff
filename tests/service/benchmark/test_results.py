"""Summaries of rounds."""

from __future__ import annotations

import json

import pytest

from service.benchmark.plain_loop import LoopConfig
from service.benchmark.results import MemoryGrowth, Round, ServerResult, ServiceBenchmark


def test_a_summary_takes_the_median_of_ratios_not_the_ratio_of_medians() -> None:
    def one(raw_rate: float, rate: float, p99: float) -> Round:
        return Round(raw_rate, 0.1, 0.01, 0.02, rate, 0.015, 0.8 * rate, 0.02, p99, 0.03, 0.1, 0.0, {"429": 1})

    result = ServerResult("ait", [one(100, 90, 0.1), one(10, 8, 0.4), one(50, 48, 0.2)])
    summary = result.summary
    assert summary.throughput == pytest.approx(0.9)
    assert summary.p99_batches == pytest.approx(2.0)
    assert summary.added == pytest.approx(0.005)
    assert summary.failures == {"429": 3}
    memory = MemoryGrowth([(10_000, 1000), (20_000, 1040)], {})
    whole = ServiceBenchmark("m", "3 made ones", 2, LoopConfig(8, False), 64, [result], memory)
    assert memory.growth == pytest.approx(1.04)
    assert json.loads(json.dumps(whole.to_dict()))["servers"][0]["summary"]["rate"] == 48
