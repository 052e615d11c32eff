"""Features are computed once for an image and a model."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from torch import Tensor

from tests.support.models.training_models import small_vit
from training.data import Preprocessing
from training.evaluation import backbone
from training.evaluation import features as module
from training.evaluation.backbone import Backbone
from training.evaluation.features import features_of
from training.model.ridge_head import head_inputs

QUIET = Console(quiet=True)
CPU = torch.device("cpu")


class Computed:
    """Counts images that go through the model."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images = 0

        def counted(model: torch.nn.Module, images: Tensor) -> Tensor:
            self.images += len(images)
            return head_inputs(model, images)

        monkeypatch.setattr(backbone, "head_inputs", counted)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def run(model: torch.nn.Module, given: Tensor, cache: Path, args: dict[str, Any] | None = None) -> Tensor:
    preprocessing = Preprocessing.of_model(model)
    computes = Backbone(model, CPU)
    return features_of(model, computes, given.__getitem__, len(given), preprocessing, cache, QUIET, "features", args)


def test_only_new_images_are_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, computed = small_vit(), Computed(monkeypatch)
    first = run(model, images(20), tmp_path)
    assert computed.images == 20
    more = run(model, torch.cat([images(5, seed=1), images(20)]), tmp_path)
    assert computed.images == 25
    assert torch.equal(more[5:], first)
    # The same image twice is one image.
    assert torch.equal(run(model, images(20)[[3, 3]], tmp_path), first[[3, 3]])
    assert computed.images == 25


def test_another_model_has_features_of_its_own_but_another_head_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, computed = small_vit(), Computed(monkeypatch)
    first = run(model, images(4), tmp_path)
    model.reset_classifier(7)
    assert torch.equal(run(model, images(4), tmp_path), first)
    assert computed.images == 4
    assert not torch.equal(run(small_vit(), images(4), tmp_path), first)
    assert computed.images == 8


def test_a_model_of_the_same_weights_that_pools_otherwise_has_features_of_its_own(tmp_path: Path) -> None:
    for args in ({}, {"global_pool": "max"}):
        torch.manual_seed(0)
        model = timm.create_model("resnet10t", num_classes=3, **args).eval()
        given = images(4)
        with torch.inference_mode():
            expected = head_inputs(model, Preprocessing.of_model(model).normalise(given))
        torch.testing.assert_close(run(model, given, tmp_path, args), expected)


def test_a_torn_file_is_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, computed = small_vit(), Computed(monkeypatch)
    first = run(model, images(4), tmp_path)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-7])
    assert torch.equal(run(model, images(4), tmp_path), first)
    assert computed.images == 8


def test_what_was_computed_before_an_interruption_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, computed = small_vit(), Computed(monkeypatch)
    monkeypatch.setattr(module, "_PART", 8)
    monkeypatch.setattr(module, "evaluation_rows", lambda _: 4)
    counted, given = backbone.head_inputs, images(20)

    def interrupted(model: torch.nn.Module, inputs: Tensor) -> Tensor:
        if computed.images == 12:
            raise KeyboardInterrupt
        return counted(model, inputs)

    monkeypatch.setattr(backbone, "head_inputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(model, given, tmp_path)
    monkeypatch.setattr(backbone, "head_inputs", counted)
    run(model, given, tmp_path)
    assert computed.images == 12 + 20 - 8
