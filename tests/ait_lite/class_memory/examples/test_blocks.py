"""What is found by blocks is what looking at everything finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ait_lite.class_memory.examples.blocks import Blocks


@given(
    rows=st.integers(1, 4),
    columns=st.one_of(st.integers(1, 70), st.integers(300, 700)),
    count=st.integers(1, 9),
    values=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_largest_and_all_from_a_bound_on(rows: int, columns: int, count: int, values: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, values, (rows, columns)).astype(np.float32)
    count = min(count, columns)
    blocks = Blocks(scores)

    found = blocks.largest(count)
    assert all(len(set(each)) == count for each in found.tolist())
    largest = np.sort(scores, axis=1)[:, ::-1][:, :count]
    np.testing.assert_array_equal(np.sort(np.take_along_axis(scores, found, 1), axis=1)[:, ::-1], largest)

    bounds = random.integers(0, values + 1, rows).astype(np.float32)
    for most in (columns, 40, 3):
        counts = (scores >= bounds[:, None]).sum(axis=1)
        expected = [(row, column) for row, column in np.argwhere(scores >= bounds[:, None]) if counts[row] <= most]
        which, where, too_many = blocks.at_least(bounds, most)
        assert (np.diff(which) >= 0).all()
        assert sorted(zip(which.tolist(), where.tolist(), strict=True)) == expected
        np.testing.assert_array_equal(too_many, counts > most)
