"""What batches cost, learnt from those that ran."""

from __future__ import annotations

import pytest

from service.batching.estimates import BatchCost


def test_a_batch_costs_something_and_something_per_item() -> None:
    cost = BatchCost()
    assert cost.seconds(5) == 0.0  # nothing is known
    for items in (1, 4, 2, 8, 16):
        cost.add(items, 0.003 + 0.001 * items)
    assert cost.fixed == pytest.approx(0.003)
    assert cost.seconds(1) == pytest.approx(0.004)
    assert cost.seconds(32) == pytest.approx(0.035)


def test_of_batches_of_one_size_half_is_taken_to_be_fixed() -> None:
    cost = BatchCost()
    for _ in range(3):
        cost.add(4, 0.008)
    assert cost.seconds(4) == pytest.approx(0.008)
    assert cost.seconds(8) == pytest.approx(0.012)
