"""Tables are made from files of the published layouts, go on where they were stopped, and name what is missing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torchvision import datasets

from tests.support.published_sets import write_cifar, write_pets
from tests.support.training_images import write_images
from training.data.sources import triangle
from training.experiments.budget import Budget, OutOfTime
from training.experiments.tables import ablations, comparison, published
from training.experiments.tables.datasets import TABLE_DATA
from training.experiments.tables.trial import TableTrial, run_trial

LUNA = {"Luna": ("luna_patch4_32", {"embed_dim": 8, "depth": 1, "num_heads": 2})}
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 8, "schedule": {"warmup_epochs": 0}, "device": "cpu"}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every set in its published layout with a few images, read at 16 pixels; the folder of the data."""
    root = tmp_path / "data"
    for folder, dataset in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        write_cifar(root / folder, dataset, monkeypatch)
    write_pets(root / "pet")
    write_images(root / "imagenet100" / "train", 4, seed=0)
    write_images(root / "imagenet100" / "val", 2, seed=1)
    monkeypatch.setattr(triangle, "TRAINING_IMAGES", 16)
    monkeypatch.setattr(triangle, "VALIDATION_IMAGES", 8)
    for name, data in list(TABLE_DATA.items()):
        monkeypatch.setitem(TABLE_DATA, name, replace(data, img_size=16, patch_size=8))
    monkeypatch.setattr(comparison, "REDUCED", LUNA)
    monkeypatch.setattr(comparison, "QUICK", QUICK)
    return root


def test_a_table_of_every_set(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "REDUCED_DATA", tuple(TABLE_DATA))
    outcome = comparison.run(False, 0, small, tmp_path / "trials", Budget())
    assert outcome.figures["missing"] == []
    assert {result["settings"]["dataset"] for result in outcome.figures["results"]} == set(TABLE_DATA)
    head, *_ = [line for line in outcome.markdown.splitlines() if line.startswith("| model |")]
    assert [cell.strip() for cell in head.split("|")[4:-1]] == list(TABLE_DATA)
    assert "| Luna |" in outcome.markdown
    assert "| AiT-Small | 15.8 | 83.34 | 56.30 | 99.47* | – | – |" in outcome.markdown
    assert str(tmp_path) not in outcome.markdown + str(outcome.figures)


def test_what_has_no_data_is_named(small: Path, tmp_path: Path) -> None:
    outcome = comparison.run(False, 0, None, tmp_path / "trials", Budget())
    assert outcome.figures["missing"] == ["CIFAR-10"]
    assert "for want of the data: CIFAR-10" in outcome.markdown


def test_a_stopped_trial_goes_on(small: Path, tmp_path: Path) -> None:
    model, args = LUNA["Luna"]
    trial = TableTrial("Luna", "Triangle", model, args, QUICK)
    whole = run_trial(trial, None, tmp_path / "whole", Budget())
    with pytest.raises(OutOfTime):
        run_trial(trial, None, tmp_path / "parts", Budget(0))
    assert run_trial(trial, None, tmp_path / "parts", Budget(0)) == whole
    assert run_trial(trial, None, tmp_path / "parts", Budget(0)) == whole
    assert [row["epoch"] for row in whole["history"]] == [1, 2]


def test_ablations_are_one_table(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(trial: TableTrial, *rest: Any) -> dict[str, Any]:
        seen.append(trial)
        return {"accuracy": 0.5, "parameters": 1, "multiply_adds": 1, "settings": {}}

    seen: list[TableTrial] = []
    monkeypatch.setattr(ablations, "run_trial", quick)
    outcome = ablations.run(True, 0, None, tmp_path, Budget())
    assert "| no bottleneck | 0.00 | 0.0 | 50.00 ± 0.00 | 50.00 ± 0.00 | 50.00 ± 0.00 | 72.75 |" in outcome.markdown
    assert len(seen) == 7 * 3 * 3
    for trial in seen:
        sizes = {"num_classes": 10, **trial.model_args(), "embed_dim": 24, "global_pool": "avg"}
        assert timm.create_model(trial.model, **sizes).ablation == trial.args["ablation"]


@pytest.mark.parametrize("full", [False, True])
def test_models_exist_under_their_names(full: bool) -> None:
    sizes = {}
    for label, (model, args) in (comparison.FULL if full else comparison.REDUCED).items():
        with torch.device("meta"):
            made = timm.create_model(model, img_size=32, patch_size=4, num_classes=10, **args)
        sizes[label] = sum(parameter.numel() for parameter in made.parameters()) / 1e6
    if full:
        assert sizes.keys() == published.ACCURACY.keys()
        for label, millions in published.PARAMETERS.items():
            assert sizes[label] == pytest.approx(millions, rel=0.06)
