"""Runs continue exactly where they stopped, however they stopped."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from rich.console import Console
from torch import Tensor, nn

from training.data import open_splits
from training.errors import CheckpointError, NonFiniteLossError, OutputError, RecipeError, TrainingInterrupted
from training.model.learner import Learner
from training.recipe.keys import Recipe
from training.recipe.loading import parse_recipe
from training.run import state
from training.run import trainer as engine
from training.run import writer as run_writer
from training.run.trainer import TrainingResult, train
from training.storage import checkpoint
from training.storage.checkpoint import load_state

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def reference(
    recipe_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, quiet: Console
) -> TrainingResult:
    """The small recipe, trained without interruption."""
    output = tmp_path_factory.mktemp("reference") / "run"
    torch.set_num_threads(1)
    return train(parse_recipe({**recipe_values, "output": str(output)}), console=quiet)


def assert_same_run(output: Path, reference: Path) -> None:
    """Everything but the timings is equal to the last bit."""
    tensors, values = load_state(output / "last" / "state.safetensors")
    expected_tensors, expected_values = load_state(reference / "last" / "state.safetensors")
    assert tensors.keys() == expected_tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected_tensors[name]), name
    for held in (values, expected_values):
        held["recipe"].pop("output")
        held["position"].pop("timings")
    assert values == expected_values
    for name in ("metrics.csv", "best/config.json", "best/model.safetensors", "best/exemplars.safetensors"):
        assert (output / name).read_bytes() == (reference / name).read_bytes()


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Raise a signal in this process during a step, counted from 0."""
    original = engine.Trainer.visit

    def update(self: engine.Trainer, *args: Any) -> Any:
        if self.position.step == step:
            signal.raise_signal(number)
        return original(self, *args)

    monkeypatch.setattr(engine.Trainer, "visit", update)


def test_run_leaves_checkpoints_metrics_and_curves(reference: TrainingResult) -> None:
    assert {path.name for path in reference.output.iterdir()} == {
        "best",
        "last",
        "recipe.yaml",
        "validation.txt",
        "metrics.csv",
        "timing.csv",
        "metrics.jsonl",
        "curves.png",
        "environment.json",
        "report.md",
        "classes.png",
        "confusion.png",
        "reliability.png",
        "mistakes.png",
    }
    with (reference.output / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["5", "10", "15"]
    assert set(rows[0]) >= {"lr", "train_loss", "train_acc", "val_loss", "val_acc", "ema_val_acc"}
    with (reference.output / "timing.csv").open() as file:
        assert [set(row) for row in csv.DictReader(file)] == [{"epoch", "images_per_second", "seconds"}] * 3
    accuracies = [float(row[key]) for row in rows for key in ("val_acc", "ema_val_acc")]
    assert reference.best_accuracy == max(accuracies)
    assert (reference.output / "curves.png").read_bytes().startswith(b"\x89PNG")


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resumed_run_equals_an_uninterrupted_one(
    number: signal.Signals,
    make_recipe: MakeRecipe,
    reference: TrainingResult,
    quiet: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = make_recipe()
    with monkeypatch.context() as patch:
        stop_at(patch, step=7, number=number)
        with pytest.raises(TrainingInterrupted, match="stopped after step 8, 3 of 5 into epoch 2") as error:
            train(recipe, console=quiet)
    assert error.value.exit_code == 128 + number
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = train(recipe, resume=True, console=quiet)
    assert len(result.history) == 3
    assert_same_run(recipe.output, reference.output)


def test_run_stopped_in_its_first_epoch_goes_on(
    make_recipe: MakeRecipe, reference: TrainingResult, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe()
    with monkeypatch.context() as patch:
        stop_at(patch, step=1, number=signal.SIGTERM)
        with pytest.raises(TrainingInterrupted, match="stopped after step 2, 2 of 5 into epoch 1"):
            train(recipe, console=quiet)
    train(recipe, resume=True, console=quiet)
    assert_same_run(recipe.output, reference.output)


@pytest.mark.parametrize("moment", ["save_model", "save_state", "replace"])
def test_failure_while_writing_leaves_the_last_epoch_whole(
    moment: str,
    make_recipe: MakeRecipe,
    reference: TrainingResult,
    quiet: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stop dead in the middle of the second epoch's writes, as a kill would."""

    class KilledError(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise KilledError

    recipe = make_recipe()
    train_epoch = engine.Trainer._train_epoch

    with monkeypatch.context() as patch:

        def then_die(self: engine.Trainer) -> Any:
            row = train_epoch(self)
            if self.position.epoch == 1:
                if moment != "save_state":
                    # Whatever the accuracy, so that the best model is about to be replaced.
                    self.position.best_accuracy = -1.0
                if moment == "replace":
                    patch.setattr(checkpoint.os, "rename", _rename_once_then(die))
                else:
                    patch.setattr(run_writer if moment == "save_model" else state, moment, die)
            return row

        patch.setattr(engine.Trainer, "_train_epoch", then_die)
        with pytest.raises(KilledError):
            train(recipe, console=quiet)
    assert load_state(recipe.output / "last" / "state.safetensors")[1]["position"]["epoch"] == 1
    train(recipe, resume=True, console=quiet)
    assert_same_run(recipe.output, reference.output)
    assert not list(recipe.output.glob(".*"))


def _rename_once_then(die: Callable[..., None]) -> Callable[..., None]:
    rename, calls = os.rename, iter([True])

    def replacement(*args: Any) -> None:
        if next(calls, False):
            rename(*args)
        else:
            die()

    return replacement


def _start(recipe: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "training", str(recipe)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )


def _wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_process_is_resumed(
    make_recipe: MakeRecipe, tmp_path: Path, quiet: Console, reference: TrainingResult
) -> None:
    recipe = make_recipe(epochs=40)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    process = _start(path)
    try:
        _wait_for(recipe.output / "metrics.csv", process)
    finally:
        process.kill()
        process.communicate()
    done = load_state(recipe.output / "last" / "state.safetensors")[1]["position"]["epoch"]
    assert 1 <= done < 40
    timm.create_model(f"local-dir:{recipe.output / 'best'}", pretrained=True)
    result = train(recipe.model_copy(update={"epochs": done + 1}), resume=True, console=quiet)
    assert [row["epoch"] for row in result.history] == list(range(1, done + 2))


def test_sigterm_ends_the_process_with_its_code(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(epochs=1000)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    process = _start(path)
    try:
        _wait_for(recipe.output / "metrics.csv", process)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert "SIGTERM: stopped after step" in errors
    assert "Traceback" not in errors
    assert load_state(recipe.output / "last" / "state.safetensors")[1]["position"]["epoch"] >= 1


def test_non_empty_output_is_refused_without_resume(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe()
    recipe.output.mkdir()
    (recipe.output / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty: pass --resume auto"):
        train(recipe, console=quiet)
    assert [path.name for path in recipe.output.iterdir()] == ["notes.txt"]


def test_resume_with_another_recipe_is_refused(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe(epochs=1)
    train(recipe, console=quiet)
    other = make_recipe(epochs=1, batch_size=16, label_smoothing=0.1)
    with pytest.raises(CheckpointError, match="other settings \\(batch_size, label_smoothing\\)"):
        train(other, resume=True, console=quiet)


def test_non_finite_loss_names_step_and_remedy_and_spares_the_checkpoint(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = engine.Trainer.visit

    def update(self: engine.Trainer, *args: Any) -> Any:
        loss, counts = original(self, *args)
        return (loss * float("nan") if self.position.step == 6 else loss), counts

    monkeypatch.setattr(engine.Trainer, "visit", update)
    recipe = make_recipe(clip_grad=None)
    with pytest.raises(NonFiniteLossError) as error:
        train(recipe, console=quiet)
    for part in ("at step 7 (epoch 2)", "lower optimizer.lr (now 0.01)", "clip_grad", "run is intact"):
        assert part in str(error.value)
    assert load_state(recipe.output / "last" / "state.safetensors")[1]["position"]["epoch"] == 1


def test_diverging_run_is_stopped(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe(optimizer={"name": "sgd", "lr": 1e30}, clip_grad=None, ema_decay=None)
    with pytest.raises(NonFiniteLossError, match="not finite at step"):
        train(recipe, console=quiet)


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
    scores = {row["epoch"]: max(row["val_acc"], row["ema_val_acc"]) for row in result.history}
    best = sorted(scores, key=lambda epoch: (-scores[epoch], epoch))[:2]
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


@pytest.mark.parametrize("step", [2, 4])
def test_weights_that_an_update_broke_are_not_kept(
    step: int, make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the step that breaks them, within an epoch or at its end, was finite."""
    original = engine.Trainer.visit

    def update(self: engine.Trainer, *args: Any) -> Any:
        result = original(self, *args)
        if self.position.step == step:
            with torch.no_grad():
                next(self.model.parameters()).flatten()[0] = float("inf")
        return result

    monkeypatch.setattr(engine.Trainer, "visit", update)
    recipe = make_recipe(checkpoint_every=1, evaluate_every=3)
    with pytest.raises(NonFiniteLossError, match=f"after step {step + 1}, for the weights are not"):
        train(recipe, console=quiet)
    tensors, values = load_state(recipe.output / "last" / "state.safetensors")
    assert values["position"]["step"] == step
    assert all(tensor.isfinite().all() for tensor in tensors.values())
