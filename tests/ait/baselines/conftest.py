"""Weights and inputs for comparisons with plain references."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _double_precision_without_gradients() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_default_dtype(torch.float32)
