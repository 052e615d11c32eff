"""Tables are made from files of the published layouts, go on where they were stopped, and name what is missing."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
from torchvision import datasets

from ait.benchmark.cost import model_cost
from tests.support.images.published_sets import write_cifar, write_pets
from tests.support.images.training_images import write_images
from tests.support.processes.budgets import Questions
from training.data import open_splits
from training.data.sources import triangle
from training.errors import DataError
from training.experiments.budget import Budget, OutOfTime
from training.experiments.tables import ablations, comparison, costs, published, sweeps
from training.experiments.tables.datasets import OUR_TRIANGLE, TABLE_DATA
from training.experiments.tables.step_seconds import over_first, step_seconds
from training.experiments.tables.trial import TableTrial, run_trial
from training.recipe.loading import parse_recipe

LUNA = {"Luna": ("luna_patch4_32", {"embed_dim": 8, "depth": 1, "num_heads": 2})}
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 8, "schedule": {"warmup_epochs": 0}, "device": "cpu"}


def test_every_set_is_read_as_it_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, dataset in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        write_cifar(tmp_path / folder, dataset, monkeypatch)
    write_pets(tmp_path / "pet")
    write_images(tmp_path / "imagenet100" / "train", 2, seed=0)
    write_images(tmp_path / "imagenet100" / "val", 1, seed=1)
    monkeypatch.setattr(triangle, "TRAINING_IMAGES", 16)
    monkeypatch.setattr(triangle, "VALIDATION_IMAGES", 8)
    found = {}
    for name, data in TABLE_DATA.items():
        section = data.recipe(tmp_path)
        assert section is not None
        recipe = parse_recipe(TableTrial("Luna", name, *LUNA["Luna"]).settings(section, tmp_path))
        assert (recipe.epochs, recipe.optimizer.lr, recipe.batch_size) == (100, 1e-4, 128 if name == "Pet" else 512)
        found[name] = tuple(map(len, open_splits(recipe.data, 0)))
    assert found == {
        "CIFAR-10": (20, 4),
        "CIFAR-100": (4, 4),
        "Triangle": (16, 8),
        OUR_TRIANGLE: (16, 8),
        "Pet": (6, 6),
        "ImageNet-100": (6, 3),
    }
    write_images(tmp_path / "folders" / "cifar10" / "train", 1, seed=0)
    section = TABLE_DATA["CIFAR-10"].recipe(tmp_path / "folders")
    assert section == {"source": "folder", "root": str(tmp_path / "folders" / "cifar10")}


def test_a_table_holds_ours_and_theirs_and_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(trial: TableTrial, *rest: Any) -> dict[str, Any] | None:
        if trial.dataset != "Triangle":
            return None
        return {"accuracy": 0.5 + trial.seed / 100, "parameters": 2e6, "multiply_adds": 3e6, "settings": {}}

    monkeypatch.setattr(comparison, "run_trial", quick)
    outcome = comparison.run(True, 0, None, tmp_path, Budget())
    assert outcome.figures["missing"] == ["CIFAR-10", "CIFAR-100", "Pet", "ImageNet-100"]
    assert "for want of the data: CIFAR-10, CIFAR-100, Pet, ImageNet-100" in outcome.markdown
    assert "| Luna | 2.00 | 3.0 | 51.00 ± 1.00 |" in outcome.markdown
    assert "| AiT-Small | 15.8 | 83.34 | 56.30 | 99.47* | – | – |" in outcome.markdown
    assert "| BRIMs | – | 60.10 | 31.75* | – | – | – |" in outcome.markdown
    assert "| TR+HC | 2.00 | 3.0 | 51.00 ± 1.00 |" in outcome.markdown
    assert "right, ± the standard deviation over seeds; parameters" in outcome.markdown


def test_a_stopped_trial_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triangle, "TRAINING_IMAGES", 16)
    monkeypatch.setattr(triangle, "VALIDATION_IMAGES", 8)
    trial = TableTrial("Luna", "Triangle", *LUNA["Luna"], QUICK)
    with pytest.raises(OutOfTime):
        run_trial(replace(trial, recipe=QUICK | {"epochs": 1}), None, tmp_path, Budget(0))
    assert not any(tmp_path.iterdir())
    with pytest.raises(OutOfTime):
        run_trial(trial, None, tmp_path, Questions(1))
    result = run_trial(trial, None, tmp_path, Questions(1))
    assert result is not None
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert str(tmp_path) not in str(result)
    assert run_trial(trial, None, tmp_path, Budget(0)) == result
    assert run_trial(replace(trial, dataset="Pet"), None, tmp_path, Budget(0)) is None


def test_ablations_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(trial: TableTrial, *rest: Any) -> dict[str, Any]:
        seen.append(trial)
        return {"accuracy": 0.5, "parameters": 1, "multiply_adds": 1, "settings": {}}

    seen: list[TableTrial] = []

    def step_seconds(rows: list[TableTrial]) -> dict[str, float]:
        assert {(row.dataset, row.seed) for row in rows} == {("CIFAR-10", 0)}
        return {row.label: 2.0 if row.label == "full model" else 3.0 for row in rows}

    monkeypatch.setattr(ablations, "run_trial", quick)
    monkeypatch.setattr(ablations, "step_seconds", step_seconds)
    outcome = ablations.run(True, 0, None, tmp_path, Budget())
    assert "right, ± the standard deviation over seeds; parameters" in outcome.markdown
    assert (
        "| full model | 0.00 | 0.0 | 1.00 | 50.00 ± 0.00 | 50.00 ± 0.00 | 50.00 ± 0.00 | 79.70 |" in outcome.markdown
    )
    assert (
        "| no bottleneck | 0.00 | 0.0 | 1.50 | 50.00 ± 0.00 | 50.00 ± 0.00 | 50.00 ± 0.00 | 72.75 |"
        in outcome.markdown
    )
    assert {check.name.rpartition(", ")[2]: check.passed for check in outcome.checks} == {
        "CIFAR-10": True,
        "CIFAR-100": True,
        "Triangle": False,  # half of two classes is chance
    }
    assert len(seen) == 7 * 3 * 3
    for trial in seen[:7]:
        sizes = {"num_classes": 10, **trial.model_args(), "embed_dim": 24, "global_pool": "avg"}
        assert timm.create_model(trial.model, **sizes).ablation == trial.args["ablation"]


def test_the_reduced_runs_are_of_cifar_in_coarse_patches_and_of_triangles() -> None:
    listed = {module: module.trials(False, 5) for module in (ablations, comparison, sweeps)}
    for module, trials in listed.items():
        sets = {("CIFAR-10", 8)} | ({("Triangle", 32), (OUR_TRIANGLE, 32)} if module is comparison else set())
        assert {(trial.dataset, trial.model_args()["patch_size"]) for trial in trials} == sets
        assert len({trial.name for trial in trials}) == len(trials)
    assert [trial.seed for trial in listed[ablations]] == [5] * 7 + [6] * 7 + [7] * 7
    assert {trial.seed for module in (comparison, sweeps) for trial in listed[module]} == {5}
    reset = next(trial for trial in listed[ablations] if trial.args["ablation"] == "reset")
    batch = reset.settings({}, Path())["batch_size"]
    every, updates = reset.args["reset_every"], -(-TABLE_DATA["CIFAR-10"].training_images // batch)
    # What is measured in the end is a memory that has had time to fill since the last time it was emptied.
    assert (updates - 1) // every == 3
    assert (updates - 1) % every > 0.9 * every


@pytest.mark.parametrize("module", [ablations, sweeps])
def test_a_reduced_run_without_its_data_says_what_is_missing(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no CIFAR-10 to train on: .* with --data"):
        module.run(False, 0, None, tmp_path, Budget())


def test_trials_of_other_settings_have_other_names() -> None:
    trial = TableTrial("Luna", "Triangle", *LUNA["Luna"])
    assert trial.name == replace(trial).name
    assert trial.name.startswith("luna-triangle-")
    assert trial.name.endswith("-seed-0")
    others = [replace(trial, recipe=QUICK), replace(trial, args={"patch_size": 8}), replace(trial, seed=1)]
    assert len({trial.name, *(other.name for other in others)}) == 4


@pytest.mark.parametrize("full", [False, True])
def test_models_exist_under_their_names(full: bool) -> None:
    sizes, depths = {}, {}
    reduced = comparison.REDUCED | comparison.REDUCED_SIZES | comparison.REDUCED_COMPANIONS
    for label, (model, args) in (comparison.FULL if full else reduced).items():
        args = args if full else args | comparison.COARSE
        with torch.device("meta"):
            made = timm.create_model(model, **{"img_size": 32, "patch_size": 4, "num_classes": 10, **args})
        sizes[label] = sum(parameter.numel() for parameter in made.parameters()) / 1e6
        if label.startswith(("AiT-", "ViT-")):
            depths[label] = len(made.blocks)
    assert depths == {
        f"{kind}-{size}": depth
        for size, depth in (("Small", 2), ("Medium", 6), ("Base", 12))
        for kind in ("AiT", "ViT")
    }
    assert sizes["Coordination-H"] > 3 * sizes["Coordination"] == 3 * sizes["Coordination-D"]
    if full:
        assert sizes.keys() - published.ACCURACY.keys() == {"Coordination, soft", "TR", "STR", "TR+HC", "ISAB"}
        assert published.ACCURACY.keys() < sizes.keys()
        for label, millions in published.PARAMETERS.items():
            assert sizes[label] == pytest.approx(millions, rel=0.06)


def test_costs_are_counted_without_weights() -> None:
    found = costs.cost("Set Transformer", "Triangle")
    model = timm.create_model("set_transformer_patch4_32", num_classes=2, img_size=64, patch_size=32)
    assert found == model_cost(model, torch.zeros(1, 3, 64, 64))


def test_sweeps_change_one_setting_at_a_time_and_tell_its_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(trial: TableTrial, *rest: Any) -> dict[str, Any]:
        seen.append(trial)
        return {"accuracy": 0.5, "parameters": 1, "multiply_adds": 1}

    def step_seconds(rows: list[TableTrial]) -> dict[str, float]:
        return {row.label: 3.0 if "steps" in row.label else 2.0 for row in rows}

    seen: list[TableTrial] = []
    monkeypatch.setattr(sweeps, "run_trial", quick)
    monkeypatch.setattr(sweeps, "step_seconds", step_seconds)
    outcome = sweeps.run(True, 0, None, tmp_path, Budget())
    assert "| as it is | 0.00 | 0.0 | 1.00 | 50.00 ± 0.00 |" in outcome.markdown
    assert "| steps 2 | 0.00 | 0.0 | 1.50 | 50.00 ± 0.00 |" in outcome.markdown
    assert "right, ± the standard deviation over seeds; parameters" in outcome.markdown
    # beta 1 is the published memory's own, as 4 is that of `ait_*` models.
    assert len(seen) == 3 * sum(map(len, sweeps.SWEEPS.values()))
    assert len({trial.name for trial in seen}) == len(seen)
    for trial in seen[: len(seen) // 3]:
        assert (trial.args["memory"], trial.args["global_pool"]) == ("published", "flat")
        memory = trial.args["memory_args"]
        assert memory["write_dropout"] == 0.1
        assert len(memory) == (1 if trial.label == "as it is" else 2)
        small = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}
        with torch.device("meta"):
            timm.create_model(trial.model, **small, memory="published", memory_args=memory)
    labels = [trial.label for trial in sweeps.trials(False, 0)]
    assert ("beta 1.0" in labels, "beta 4.0" in labels, "prior_dim 8" in labels) == (True, False, True)
    assert len(outcome.figure.axes) == len(sweeps.SWEEPS)
    monkeypatch.setattr(sweeps, "run_trial", lambda *rest: None)
    with pytest.raises(DataError, match="--data"):
        sweeps.run(True, 0, None, tmp_path, Budget())


# Settings that make any model of the table small.
SHRUNK = {
    "ait": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "ablated": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "vit": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "perceiver": {"embed_dim": 8, "num_latents": 2, "depth": 1, "num_heads": 2},
    "set": {"embed_dim": 8, "num_heads": 2},
    "luna": {"embed_dim": 8, "depth": 1, "num_heads": 2},
    "brims": {"embed_dim": 8, "hidden_dim": 12},
    "coordination": {"embed_dim": 8, "depth": 1, "num_heads": 2},
}


def of_the_full_run() -> list[TableTrial]:
    """One of each kind of model: others differ in size alone, and variants have tests of their own."""
    found = {trial.model.partition("_")[0]: trial for trial in reversed(comparison.trials(True, 0))}
    return [*found.values(), ablations.trials(True, 0)[-1]]


@pytest.mark.parametrize("trial", of_the_full_run(), ids=lambda trial: trial.label)
def test_what_wants_a_gpu_trains_when_it_is_small(
    trial: TableTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triangle, "TRAINING_IMAGES", 16)
    monkeypatch.setattr(triangle, "VALIDATION_IMAGES", 8)
    args = trial.args | SHRUNK[trial.model.partition("_")[0]]
    small = replace(trial, dataset="Triangle", args=args, recipe={**QUICK, "epochs": 1})
    result = run_trial(small, None, tmp_path, Budget())
    assert result is not None
    assert 0 <= result["accuracy"] <= 1
    assert result["parameters"] < 1e6


def test_steps_of_a_table_are_timed_with_all_of_their_loss() -> None:
    rows = [
        TableTrial(ablation, "Triangle", "ablated_ait_tiny_patch4_32", {"ablation": ablation, **SHRUNK["ablated"]})
        for ablation in ("none", "memory")
    ]
    rows.append(TableTrial("ViT", "Triangle", "vit_tiny_patch16_224", SHRUNK["vit"]))
    seconds = step_seconds(rows)
    assert all(each > 0 for each in seconds.values())
    assert list(seconds) == ["none", "memory", "ViT"]
    assert over_first({"none": 2.0, "memory": 3.0}, "none") == {"none": "1.00", "memory": "1.50"}
    assert over_first({"memory": 3.0}, "none") == {"memory": "–"}
