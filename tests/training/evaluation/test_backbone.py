"""A graph beside the weights computes features in the model's place, as long as it answers as the model does."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import Tensor, nn

from ait.export.graph import write_graphs
from tests.support.models.graphs import flip_weight
from tests.support.models.training_models import small_vit
from training.evaluation import backbone
from training.evaluation.backbone import Backbone
from training.model.ridge_head import head_inputs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A model, and the prepared folder that it comes from."""
    torch.manual_seed(0)
    model, folder = small_vit().eval(), tmp_path_factory.mktemp("prepared")
    model.pretrained_cfg["input_size"] = (3, 16, 16)
    save_for_hf(model, str(folder), safe_serialization=True)
    write_graphs(model, folder, folder)
    return model, folder


def images() -> Tensor:
    return torch.randn(9, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def eager_images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the images of each batch that goes through the model itself."""
    counts: list[int] = []

    def counted(model: nn.Module, inputs: Tensor) -> Tensor:
        counts.append(len(inputs))
        return head_inputs(model, inputs)

    monkeypatch.setattr(backbone, "head_inputs", counted)
    return counts


@torch.inference_mode()
def test_the_graph_takes_the_models_place(prepared: tuple[nn.Module, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model, folder = prepared
    counts, computes = eager_images(monkeypatch), Backbone(model, CPU, folder)
    torch.testing.assert_close(computes(images()), head_inputs(model, images()), rtol=1e-4, atol=1e-4)
    computes(images())
    assert counts == [4]  # what the graph is compared on


@torch.inference_mode()
def test_a_graph_that_answers_otherwise_does_not(
    prepared: tuple[nn.Module, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = prepared[0], shutil.copytree(prepared[1], tmp_path / "other")
    flip_weight(folder)
    counts, computes = eager_images(monkeypatch), Backbone(model, CPU, folder)
    assert torch.equal(computes(images()), head_inputs(model, images()))
    assert counts == [4, 9]


@torch.inference_mode()
def test_without_a_graph_the_model_computes(tmp_path: Path) -> None:
    model = small_vit().eval()
    for folder in (None, tmp_path):
        assert torch.equal(Backbone(model, CPU, folder)(images()), head_inputs(model, images()))


@torch.inference_mode()
def test_a_graph_takes_images_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=3).eval()
    model.pretrained_cfg["input_size"] = (3, 64, 64)
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    write_graphs(model, tmp_path, tmp_path)
    counts, computes = eager_images(monkeypatch), Backbone(model, CPU, tmp_path)
    smaller = images().repeat(1, 1, 2, 3)  # (9, 3, 32, 48)
    torch.testing.assert_close(computes(smaller), head_inputs(model, smaller), rtol=1e-4, atol=1e-4)
    assert counts == [4]
