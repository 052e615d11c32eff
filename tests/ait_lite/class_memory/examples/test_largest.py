"""As many numbers as were asked for reach the floor, and no floor is above the largest that could be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ait_lite.class_memory.examples.largest import floors


@given(
    rows=st.integers(1, 4),
    columns=st.one_of(st.integers(1, 70), st.integers(300, 700)),
    count=st.integers(1, 9),
    values=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_enough_reach_the_floor(rows: int, columns: int, count: int, values: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, values, (rows, columns)).astype(np.float32)
    count = min(count, columns)
    found = floors(scores, count)
    assert found.shape == (rows,)
    assert ((scores >= found[:, None]).sum(axis=1) >= count).all()


def test_few_more_reach_the_floor() -> None:
    scores = np.random.default_rng(0).standard_normal((8, 20_000)).astype(np.float32)
    for count in (1, 9, 50):
        reached = (scores >= floors(scores, count)[:, None]).sum(axis=1)
        assert (reached <= 1.5 * count + 5).all()


def test_of_few_numbers_the_floor_is_the_last_that_counts() -> None:
    scores = np.arange(12.0)[None]
    assert [floors(scores, count)[0] for count in (1, 5, 12)] == [11.0, 7.0, 0.0]
