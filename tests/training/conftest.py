"""Small generated data and recipes."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from rich.console import Console

from tests.support.images.training_images import SIZE, write_images
from training.recipe.keys import Recipe
from training.recipe.loading import parse_recipe
from training.run import trainer

# How long an example takes says how busy the machine is.
settings.register_profile("training", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("training")


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _one_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all runs multiply in one library: which one is faster depends on what else runs, and rounding on it."""
    monkeypatch.setattr(trainer, "fastest_products", lambda *_: nullcontext())


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """33 training and 15 test images of three classes."""
    root = tmp_path_factory.mktemp("data")
    write_images(root / "train", 11, seed=0)
    write_images(root / "test", 5, seed=1)
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def recipe_values(data_root: Path, cache: Path) -> dict[str, Any]:
    """A recipe with every source of chance and state switched on, of a very small model."""
    return {
        "data": {"root": str(data_root), "cache": str(cache), "crop_pct": 1.0},
        "model": {
            "name": "vit_tiny_patch16_224",
            "args": {
                "img_size": SIZE,
                "patch_size": 8,
                "embed_dim": 16,
                "depth": 2,
                "num_heads": 2,
                "drop_rate": 0.1,
                "drop_path_rate": 0.2,
            },
        },
        "output": "unset",
        "epochs": 3,
        "batch_size": 8,
        "optimizer": {"name": "nmuon", "lr": 0.01},
        "schedule": {"warmup_epochs": 0.5},
        "augment": {
            "crop_padding": 2,
            "brightness": 0.1,
            "saturation": 0.1,
            "random_erasing": 0.3,
            "random_erasing_fill": "noise",
            "mixup": 0.2,
            "cutmix": 1.0,
            "mix_per": "image",
        },
        "ema_decay": 0.9,
        "clip_grad": 1.0,
        "figures": False,  # they would take most of the time
        "device": "cpu",
        "seed": 3,
    }


@pytest.fixture
def make_recipe(recipe_values: dict[str, Any], tmp_path: Path) -> Callable[..., Recipe]:
    """Builds the small recipe with top-level keys replaced; output is ``tmp_path/run`` unless given."""

    def make(**changes: Any) -> Recipe:
        return parse_recipe({**recipe_values, "output": str(tmp_path / "run"), **changes})

    return make


@pytest.fixture(scope="session")
def quiet() -> Console:
    return Console(quiet=True)
