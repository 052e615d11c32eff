"""Images are admitted by the memory that they take."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ait_lite.images.errors import TooManyPixels
from service.errors import QueueFull
from service.images.memory import (
    BYTES_PER_PIXEL,
    LEAST_BYTES,
    SHARE,
    PixelBudget,
    decoding_bytes,
    memory_free,
    memory_limit,
)

MB = 1_000_000


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_least_limit_of_the_control_groups_counts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pods/one\n",
            "sys/fs/cgroup/pods/one/memory.max": "max\n",
            "sys/fs/cgroup/pods/memory.max": f"{900 * MB}\n",
            "sys/fs/cgroup/pods/memory.current": f"{500 * MB}\n",
            "sys/fs/cgroup/pods/memory.stat": f"anon 1\ninactive_file {100 * MB}\n",
        },
    )
    assert memory_limit(root) == 900 * MB
    assert memory_free(root) == min(500 * MB, psutil.virtual_memory().available)


def test_a_container_sees_its_group_at_the_top(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu:/x\n9:memory:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{300 * MB}",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{400 * MB}",
        },
    )
    assert memory_limit(root) == 300 * MB
    assert memory_free(root) == 0


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == psutil.virtual_memory().total
    assert memory_free(tmp_path) > 0


def test_what_does_not_fit_beside_others_is_refused_and_fits_later() -> None:
    budget = PixelBudget(100 * BYTES_PER_PIXEL)
    with budget.room(60):
        with budget.room(40):
            assert budget.taken == budget.total
        with pytest.raises(QueueFull), budget.room(41):
            raise AssertionError("admitted")
    with budget.room(41):
        assert budget.taken == 41 * BYTES_PER_PIXEL
    assert budget.taken == 0
    assert budget.pixels == 100


@given(st.lists(st.integers(1, 200), max_size=20))
def test_no_more_than_the_budget_is_taken(sizes: list[int]) -> None:
    budget = PixelBudget(100 * BYTES_PER_PIXEL)
    with ExitStack() as stack:
        admitted: list[int] = []
        for size in sizes:
            with suppress(QueueFull, TooManyPixels):
                stack.enter_context(budget.room(size))
                admitted.append(size)
        assert budget.taken == sum(admitted) * BYTES_PER_PIXEL <= budget.total
    assert budget.taken == 0


def test_what_never_fits_is_told_so() -> None:
    budget = PixelBudget(100 * BYTES_PER_PIXEL)
    with pytest.raises(TooManyPixels, match=r"memory.*100 pixels fit"), budget.room(101):
        raise AssertionError("admitted")
    assert budget.taken == 0


def test_processes_share_what_is_free(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{900 * MB}\n",
            "sys/fs/cgroup/memory.current": f"{200 * MB}\n",
        },
    )
    free = memory_free(root)
    assert decoding_bytes(1, root) == max(LEAST_BYTES, int(free * SHARE))
    assert decoding_bytes(100, root) == LEAST_BYTES
