"""Random streams and orders are functions of the seed and the number of an epoch or step."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.seeds import epoch_order, repeat_order


def test_order_is_a_permutation_and_a_function_of_seed_and_epoch() -> None:
    order = epoch_order(100, seed=1, epoch=2)
    assert order.sort().values.tolist() == list(range(100))
    torch.manual_seed(99)
    assert torch.equal(order, epoch_order(100, seed=1, epoch=2))
    assert not torch.equal(order, epoch_order(100, seed=1, epoch=3))
    assert not torch.equal(order, epoch_order(100, seed=2, epoch=2))


@given(count=st.integers(0, 60), repeats=st.integers(1, 7), seed=st.integers(0, 99))
@settings(deadline=None)
def test_repeats_come_in_a_row_and_leave_the_length(count: int, repeats: int, seed: int) -> None:
    order = epoch_order(count, seed, 0)
    repeated = repeat_order(order, repeats)
    assert len(repeated) == count
    assert [int(value) for value in repeated] == [int(order[row // repeats]) for row in range(count)]
