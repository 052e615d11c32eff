"""Rate limits of API keys, with a clock that the tests set."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.auth.rate_limit import RateLimits


@hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_in_any_stretch_of_time_no_more_pass_than_burst_and_rate_allow(
    rate: float, burst: int, pauses: list[float]
) -> None:
    now = 0.0
    rates = RateLimits(clock=lambda: now)
    passed = []
    for pause in pauses:
        now += pause
        wait = rates.take("a", rate, burst)
        assert wait >= 0
        if wait:
            now += wait * (1 + 1e-6) + 1e-6  # what was promised holds
            assert rates.take("a", rate, burst) == 0.0
        passed.append(now)
    for i, start in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= burst + rate * (passed[j] - start) * (1 + 1e-6) + 1e-3


def test_after_a_pause_the_burst_is_there_again() -> None:
    now = 100.0
    rates = RateLimits(clock=lambda: now)
    assert [rates.take("a", 2.0, 3) for _ in range(3)] == [0.0] * 3
    assert rates.take("a", 2.0, 3) == pytest.approx(0.5)
    assert rates.take("b", 2.0, 3) == 0.0
    now = 110.0
    assert [rates.take("a", 2.0, 3) > 0 for _ in range(4)] == [False] * 3 + [True]


def open_files(folder: Path) -> int:
    """Return how many files below a folder this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found += descriptor.readlink().is_relative_to(folder)
        except FileNotFoundError:  # that of the listing itself, and of other threads
            continue
    return found


def test_processes_that_share_a_folder_count_together(tmp_path: Path) -> None:
    one, other = (RateLimits(tmp_path, clock=lambda: 50.0) for _ in range(2))
    assert [each.take("a", 1.0, 3) for each in (one, other, one)] == [0.0] * 3
    assert other.take("a", 1.0, 3) == pytest.approx(1.0)
    assert one.take("a", 1.0, 3) == pytest.approx(1.0)
    assert one.take("b", 1.0, 3) == 0.0
    assert open_files(tmp_path) == 3
    one.close()
    other.close()
    assert open_files(tmp_path) == 0
