"""A run to compare others with."""

from typing import Any

import pytest
import torch
from rich.console import Console

from training.recipe.loading import parse_recipe
from training.run.trainer import TrainingResult, train


@pytest.fixture(scope="module")
def reference(
    recipe_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, quiet: Console
) -> TrainingResult:
    """The small recipe, trained without interruption."""
    output = tmp_path_factory.mktemp("reference") / "run"
    torch.set_num_threads(1)
    return train(parse_recipe({**recipe_values, "output": str(output)}), console=quiet)
