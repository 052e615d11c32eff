"""Columns stay what they are where there is room for more, and rows lie apart in memory."""

import numpy as np
import pytest

from ait_lite.class_memory.examples.columns import columns, widened


def test_wider_columns_hold_what_was_there() -> None:
    narrow = columns(3, 2)
    narrow[:] = np.arange(6).reshape(3, 2)
    wide = widened(narrow, 5)
    np.testing.assert_array_equal(wide, [[0, 1, 0, 0, 0], [2, 3, 0, 0, 0], [4, 5, 0, 0, 0]])
    assert wide.dtype == np.float32


@pytest.mark.parametrize("width", [1024, 4096, 20480])
def test_rows_do_not_begin_at_the_same_place_of_a_page(width: int) -> None:
    assert columns(2, width).strides[0] % 4096
