"""What is found is large, and mostly the largest."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ait_lite.class_memory.examples.largest import large


@given(
    rows=st.integers(1, 4),
    columns=st.one_of(st.integers(1, 70), st.integers(300, 700)),
    count=st.integers(1, 9),
    values=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_as_many_columns_as_asked(rows: int, columns: int, count: int, values: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, values, (rows, columns)).astype(np.float32)
    count = min(count, columns)
    found = large(scores, count)
    assert found.shape == (rows, count)
    assert ((found >= 0) & (found < columns)).all()
    assert all(len(set(each)) == count for each in found.tolist())


def test_mostly_the_largest() -> None:
    scores = np.random.default_rng(0).standard_normal((50, 20_000)).astype(np.float32)
    for count in (1, 9, 50):
        largest = np.argsort(scores, axis=1)[:, ::-1][:, :count]
        found = large(scores, count)
        shares = [len({*a} & {*b}) / count for a, b in zip(largest.tolist(), found.tolist(), strict=True)]
        assert np.mean(shares) > 0.95
        assert all(first in each for first, each in zip(largest[:, 0], found, strict=True))


def test_of_few_numbers_the_largest() -> None:
    scores = np.arange(12.0)[None]
    assert [set(large(scores, count)[0].tolist()) for count in (1, 5, 12)] == [{11}, {7, 8, 9, 10, 11}, {*range(12)}]
