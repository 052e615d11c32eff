"""The temperature of a checkpoint."""

import pytest

from ait_lite.checkpoint import CheckpointError, read_temperature


@pytest.mark.parametrize("value", [0, -1, True, "1", float("inf"), float("nan"), [1]])
def test_a_temperature_that_is_no_positive_number_is_refused(value: object) -> None:
    with pytest.raises(CheckpointError, match="temperature"):
        read_temperature({"temperature": value})


def test_temperatures() -> None:
    assert read_temperature({}) is None
    assert read_temperature({"temperature": 2}) == 2.0
