"""Which library multiplies float32 matrices is chosen for a run, and put back after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from training.run import accelerator
from training.run.accelerator import create_accelerator, fastest_products


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("preferred", "chosen"), [(True, "medium"), (False, "highest")])
def test_what_is_preferred_holds_for_the_run(preferred: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_prefers_onednn", lambda: preferred)
    with fastest_products(create_accelerator("cpu", "fp32")):
        assert torch.get_float32_matmul_precision() == chosen
    assert torch.get_float32_matmul_precision() == "highest"


def test_what_the_caller_has_set_stays() -> None:
    torch.set_float32_matmul_precision("high")
    with fastest_products(create_accelerator("cpu", "fp32")):
        assert torch.get_float32_matmul_precision() == "high"


def test_what_is_chosen_is_as_exact() -> None:
    left, right = torch.randn(64, 512), torch.randn(512, 64)
    exact = left.double() @ right.double()
    default = float((left @ right - exact).norm())
    with fastest_products(create_accelerator("cpu", "fp32")):
        assert float((left @ right - exact).norm()) <= 2 * default


@pytest.mark.parametrize(("rounding", "preferred"), [(0.0, True), (1e-2, False)])
def test_a_faster_library_is_preferred_only_if_it_is_exact(
    rounding: float, preferred: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is given: each product takes a second, and those of oneDNN half of one."""
    clock = iter([float(tick) for round_ in range(20) for tick in (2 * round_, 2 * round_ + 1, 0.0, 0.5)])
    monkeypatch.setattr(accelerator.time, "process_time", lambda: next(clock))
    largest_difference = accelerator._largest_difference

    def rounded(product: torch.Tensor, exact: torch.Tensor) -> float:
        medium = torch.get_float32_matmul_precision() == "medium"
        return largest_difference(exact.float() + rounding * medium, exact)  # on some processors it does round

    monkeypatch.setattr(accelerator, "_largest_difference", rounded)
    assert accelerator._prefers_onednn() is preferred
    assert torch.get_float32_matmul_precision() == "highest"
