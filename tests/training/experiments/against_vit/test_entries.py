"""Contestants have the sizes that they claim, and each trial stands in the tables that it is for."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.experiments.against_vit import entries as module
from training.experiments.against_vit.entries import entries, matched_width, triangles
from training.experiments.blocks.designs import DESIGNS, Size, parameters
from training.experiments.blocks.training import Training
from training.experiments.budget import Budget, NotChosen
from training.experiments.relational.trial import RelationalTrial

TRIAL = RelationalTrial(
    "asked", {"kind": "ait", "dim": 16, "depth": 1, "num_heads": 2}, images=24, epochs=1, batch_size=8
)


@pytest.mark.parametrize("design", ["default", "published"])
@pytest.mark.parametrize("size", [Size(width=96), Size(64, 2, patch=32, merged=2)])
def test_the_vit_beside_a_design_stores_as_much(design: str, size: Size) -> None:
    width = matched_width(design, size)
    assert width % size.heads == 0
    design_itself, vit = DESIGNS[design].make(size), DESIGNS["vit"].make(replace(size, width=width))
    assert parameters(vit) == pytest.approx(parameters(design_itself), rel=0.03)


def test_triangles_are_the_published_ones_in_three_channels() -> None:
    images = triangles(20, 10)
    assert images.train.shape == (20, 3, 64, 64)
    assert images.test.shape == (10, 3, 64, 64)
    assert torch.equal(images.train[:, 0], images.train[:, 2])
    assert not torch.equal(images.train[:10], images.test)
    assert images.test_labels.tolist().count(1) in range(1, 10)
    values = images.normalised(images.train)  # photographs' statistics would leave them at a third of unit scale
    assert abs(values.mean()) < 1e-3
    assert values.std() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("full", [False, True])
def test_every_trial_has_a_name_of_its_own(full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = triangles(16, 8)
    monkeypatch.setattr(module, "triangles", lambda train, test: drawn)
    monkeypatch.setattr(module, "load", lambda root, each, size: drawn)
    names = [entry.name for entry in entries(full, 4, tmp_path, tmp_path, Budget())]
    assert len(set(names)) == len(names)
    assert {"cifar-10-latent-workspace-seed-6", "sort-of-clevr-latent-workspace-joint-seed-5"} < set(names)
    assert {"triangle-ait-as-published-seed-4", "sort-of-clevr-ait-as-published-joint-seed-4"} < set(names)
    assert all(name.startswith("sort-of-clevr") for name in names[-18:])
    without = [entry.name for entry in entries(False, 4, None, tmp_path, Budget())]
    assert not any(name.startswith("cifar") for name in without)
    assert len(without) == 18 + 18


def test_a_trial_on_images_stands_in_their_table(tmp_path: Path) -> None:
    size, training = Size(64, 2, 16, 2, patch=32, merged=2), Training(epochs=1)
    found_entries = module._on_images(
        "Triangle", triangles(128, 16), size, training, range(4, 6), tmp_path, Budget(only="triangle-ait-seed-5")
    )
    by_name = {entry.name: entry for entry in found_entries}
    found = by_name["triangle-ait-seed-5"].run()
    assert list(found) == ["Triangle"]
    assert found["Triangle"].seed == 5
    assert found["Triangle"].right["on"].shape == (16,)
    assert set(found["Triangle"].right) == {"on", "off", "equal", "shuffled"}
    with pytest.raises(NotChosen):
        by_name["triangle-ait-seed-4"].run()


def test_a_trial_on_questions_stands_in_the_table_of_every_kind(tmp_path: Path) -> None:
    found = module._asked(TRIAL, tmp_path, Budget())
    result = json.loads((tmp_path / f"{TRIAL.name}.json").read_text())
    assert [name.removeprefix("Sort-of-CLEVR, ") for name in found] == ["non-relational", "binary", "ternary"]
    for name, trial in found.items():
        kind = name.removeprefix("Sort-of-CLEVR, ")
        assert trial.accuracy() == pytest.approx(result["accuracy"][kind])
        assert trial.right["on"].shape == (2000,)
        assert trial.right["off"].tolist() == [digit == "1" for digit in result["right"]["off"][kind]][::4]
    assert len({trial.accuracy() for trial in found.values()}) == 3


def test_a_loss_is_of_one_batch_of_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = triangles(256, 8)
    monkeypatch.setattr(module, "load", lambda root, each, size: drawn)
    size, training = Size(64, 2, 16, 2, patch=32, merged=2), Training(batch=64)
    (image, *_) = module._on_images("Triangle", drawn, size, training, range(1), tmp_path, Budget())
    (question, *_) = module._on_questions(False, range(1), tmp_path, Budget())
    for entry, chance in ((image, 2), (question, 10)):
        torch.manual_seed(0)
        model = entry.make()
        loss = entry.loss(model)
        assert abs(loss.item() - math.log(chance)) < 0.5
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_steps_are_timed_of_models_as_they_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor with separate products for attention, as the trials switch it."""
    drawn = triangles(16, 8)
    monkeypatch.setattr(module, "triangles", lambda train, test: drawn)
    found = {entry.contestant: entry for entry in entries(False, 0, None, tmp_path, Budget())}
    vit = found["ViT 152"].make().to("cpu")
    switched = [layer.fused_attn for layer in vit.modules() if hasattr(layer, "fused_attn")]
    assert len(switched) == 4
    assert any(switched) == torch.cuda.is_available()
