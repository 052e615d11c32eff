"""Runs train as the recipe says, and leave what they should."""

import csv
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from torch import Tensor, nn

from ait_lite.checkpoint import read_config
from tests.support.processes.training_runs import MakeRecipe
from training.data import open_splits
from training.errors import OutputError, RecipeError
from training.model.learner import Learner
from training.run.output import writer
from training.run.output.folder import RunFolder
from training.run.trainer import TrainingResult, train
from training.storage.history import Row
from training.storage.state_file import load_state

LEFT = {
    "best",
    "last",
    "recipe.yaml",
    "validation.txt",
    "metrics.csv",
    "timing.csv",
    "metrics.jsonl",
    "environment.json",
    "report.md",
}


def test_run_leaves_checkpoints_and_metrics(reference: TrainingResult) -> None:
    assert {path.name for path in reference.output.iterdir()} == LEFT
    assert "](" not in (reference.output / "report.md").read_text()
    with (reference.output / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["5", "10", "15"]
    assert set(rows[0]) >= {"lr", "train_loss", "train_acc", "val_loss", "val_acc", "ema_val_acc"}
    with (reference.output / "timing.csv").open() as file:
        assert [set(row) for row in csv.DictReader(file)] == [{"epoch", "images_per_second", "seconds"}] * 3
    accuracies = [float(row[key]) for row in rows for key in ("val_acc", "ema_val_acc")]
    assert reference.best_accuracy == max(accuracies)


def test_run_leaves_figures_unless_told_not_to(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe(epochs=1, figures=True)
    train(recipe, console=quiet)
    figures = {"curves.png", "classes.png", "confusion.png", "reliability.png", "mistakes.png"}
    assert {path.name for path in recipe.output.iterdir()} == LEFT | figures
    page = (recipe.output / "report.md").read_text()
    for name in figures:
        assert f"]({name})" in page
        assert (recipe.output / name).read_bytes().startswith(b"\x89PNG")


def test_figures_are_drawn_as_often_as_takes_little_of_the_time(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, drawn = [0.0], []
    monkeypatch.setattr(writer, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def draw(self: RunFolder, history: Sequence[Row], title: str) -> None:
        now[0] += 2  # seconds
        drawn.append(len(history))

    def write(self: RunFolder, history: Sequence[Row], timings: Sequence[Row]) -> None:
        now[0] += 30

    monkeypatch.setattr(RunFolder, "draw", draw)
    monkeypatch.setattr(RunFolder, "write_metrics", write)
    train(make_recipe(epochs=6, figures=True), console=quiet)
    assert drawn == [1, 5]


def test_training_visits_every_image_once_an_epoch(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    original = Learner.forward

    def forward(self: Learner, images: Tensor) -> tuple[Tensor, Tensor]:
        batches.append(len(images))
        return original(self, images)

    monkeypatch.setattr(Learner, "forward", forward)
    train(make_recipe(epochs=1), console=quiet)
    assert batches == [8, 8, 8, 8, 1]


def test_non_empty_output_is_refused_without_resume(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe()
    recipe.output.mkdir()
    (recipe.output / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty: pass --resume auto"):
        train(recipe, console=quiet)
    assert [path.name for path in recipe.output.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "no_such_model"}}, "model 'no_such_model'"),
        ({"model": {"name": "vit_tiny_patch16_224", "args": {"num_classes": 5}}}, "model.args.num_classes"),
        ({"optimizer": {"name": "no_such_optimizer"}}, "optimizer 'no_such_optimizer'"),
        ({"schedule": {"warmup_epochs": 3}}, "warmup_epochs"),
    ],
)
def test_impossible_recipes_leave_no_output(
    changes: dict[str, Any], message: str, make_recipe: MakeRecipe, quiet: Console
) -> None:
    recipe = make_recipe(**changes)
    with pytest.raises(RecipeError, match=message):
        train(recipe, console=quiet)
    assert not recipe.output.exists()


def test_held_out_images_are_listed(make_recipe: MakeRecipe, data_root: Path, cache: Path, quiet: Console) -> None:
    recipe = make_recipe(epochs=1, data={"root": str(data_root), "cache": str(cache), "validation_fraction": 0.2})
    train(recipe, console=quiet)
    listed = (recipe.output / "validation.txt").read_text().splitlines()
    assert tuple(listed) == open_splits(recipe.data, recipe.seed)[1].names


def test_associative_transformer_reports_its_memory(make_recipe: MakeRecipe, quiet: Console) -> None:
    model = {
        "name": "ait_tiny_patch4_32",
        "args": {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2},
    }
    recipe = make_recipe(model=model, epochs=2, patch_whitening=True)
    result = train(recipe, console=quiet)
    row = result.history[-1]
    assert row["balance_loss"] > 0
    for block in range(2):
        for quantity in (
            "effective_rank_priors",
            "effective_rank_patterns",
            "patch_perplexity",
            "usage_perplexity",
        ):
            assert row[f"memory/block{block}/{quantity}"] >= 1 - 1e-6
        assert row[f"memory/block{block}/norm_ratio"] > 0
    for name in ("retrieval_off", "equal_priors", "shuffled_priors"):
        change = row[f"memory/effect/{name}/accuracy"] - row["memory/effect/accuracy"]
        assert row[f"memory/effect/{name}/accuracy_change"] == pytest.approx(change)
        (kept,) = [
            row[f"memory/effect/{name}/accuracy_change"] for row in result.history if row["epoch"] == result.best_epoch
        ]
        assert read_config(result.checkpoint)["metrics"]["memory"][name]["accuracy_change"] == kept
    best = timm.create_model(f"local-dir:{result.checkpoint}", pretrained=True)
    state, _ = load_state(recipe.output / "last" / "state.safetensors")
    assert isinstance(best, nn.Module)
    assert state.keys() >= {f"model.{name}" for name in best.state_dict()}


def test_accumulated_parts_add_up_to_the_whole_batch(make_recipe: MakeRecipe, tmp_path: Path, quiet: Console) -> None:
    model = {**make_recipe().model.model_dump()}
    model["args"] = {**model["args"], "drop_rate": 0.0, "drop_path_rate": 0.0}
    settings = {"model": model, "epochs": 1, "optimizer": {"name": "sgd", "lr": 0.01}, "batch_size": 10}
    states = []
    for parts in (1, 3):
        recipe = make_recipe(output=str(tmp_path / f"{parts}"), accumulate=parts, **settings)
        train(recipe, console=quiet)
        states.append(load_state(recipe.output / "last" / "state.safetensors")[0])
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_recomputed_blocks_train_the_same_model(make_recipe: MakeRecipe, tmp_path: Path, quiet: Console) -> None:
    args = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2}
    states = []
    for recompute in (False, True):
        recipe = make_recipe(
            model={"name": "ait_tiny_patch4_32", "args": args},
            output=str(tmp_path / f"{recompute}"),
            epochs=1,
            grad_checkpointing=recompute,
        )
        train(recipe, console=quiet)
        states.append(load_state(recipe.output / "last" / "state.safetensors")[0])
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_the_best_models_are_kept(make_recipe: MakeRecipe, quiet: Console) -> None:
    result = train(make_recipe(epochs=4, keep_checkpoints=2), console=quiet)

    def rank(row: Row) -> tuple[float, float, float]:
        weights = "ema_" if row["ema_val_acc"] > row["val_acc"] else ""
        return -row[f"{weights}val_acc"], row[f"{weights}val_loss"], row["epoch"]

    best = [row["epoch"] for row in sorted(result.history, key=rank)[:2]]
    kept = sorted((result.output / "checkpoints").iterdir())
    assert [folder.name for folder in kept] == [f"epoch-{int(epoch):04d}" for epoch in sorted(best)]
    for folder in kept:
        timm.create_model(f"local-dir:{folder}", pretrained=True)


def test_training_in_bfloat16_learns(make_recipe: MakeRecipe, quiet: Console) -> None:
    args = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1}
    recipe = make_recipe(model={"name": "ait_tiny_patch4_32", "args": args}, precision="bf16", epochs=3)
    history = train(recipe, console=quiet).history
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    state_tensors, _ = load_state(recipe.output / "last" / "state.safetensors")
    assert all(tensor.dtype == torch.float32 for name, tensor in state_tensors.items() if name.startswith("model."))
