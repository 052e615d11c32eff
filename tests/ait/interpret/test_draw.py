"""Drawing a model's memory reads it, and changes nothing."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from ait.interpret.draw import draw_memory
from tests.ait.conftest import MakeModel


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_drawing_a_memory_changes_nothing(
    make_model: MakeModel, images: Tensor, tmp_path: Path, training: bool, adaptive: bool
) -> None:
    model = make_model({"adaptive": adaptive}).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = draw_memory(model, Image.new("RGB", (16, 16)), images[:1], tmp_path / "memory.png")
    assert len(report) == 2
    assert (tmp_path / "memory.png").stat().st_size > 1000
    assert model.training == training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
