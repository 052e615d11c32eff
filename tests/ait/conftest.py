"""Small models and images."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from ait import AssociativeTransformer

settings.register_profile("ait", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("ait")

SIZE = 16
CLASSES = 5
MEMORY = {"num_priors": 6, "prior_dim": 8, "num_heads": 2, "bottleneck": 12}

MakeModel = Callable[..., AssociativeTransformer]


@pytest.fixture(autouse=True)
def _one_thread_one_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_model() -> MakeModel:
    """Builds a model of width 32 with two blocks on 16 tokens; `memory_args` add to a small memory's."""

    def make(memory_args: dict[str, Any] | None = None, **changes: Any) -> AssociativeTransformer:
        torch.manual_seed(1)
        defaults = {
            "img_size": SIZE,
            "patch_size": 4,
            "embed_dim": 32,
            "depth": 2,
            "num_heads": 2,
            "mlp_ratio": 2.0,
            "num_classes": CLASSES,
            "memory_args": {**MEMORY, **(memory_args or {})},
        }
        return AssociativeTransformer(**{**defaults, **changes})

    return make


@pytest.fixture
def images() -> Tensor:
    """Eight images."""
    return torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def labels() -> Tensor:
    """Their classes."""
    return torch.arange(8) % CLASSES
