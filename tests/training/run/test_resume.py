"""Runs go on exactly where they stopped, however they stopped."""

import json
import os
import signal
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from torch import Tensor

from ait_lite.checkpoint import atomic
from tests.support.processes.training_runs import MakeRecipe, assert_same_run, run_module, run_until, write_recipe
from training.errors import CheckpointError, TrainingInterrupted
from training.run import accelerator, trainer
from training.run.output import state
from training.run.output import writer as run_writer
from training.run.trainer import Trainer, TrainingResult, train
from training.step.training_step import TrainingStep
from training.step.update import UpdateResult
from training.storage.state_file import load_state


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Raise a signal in this process during a step, counted from 0."""
    original = TrainingStep.__call__

    def call(self: TrainingStep, chosen: Tensor, images: Tensor, current: int) -> UpdateResult:
        if current == step:
            signal.raise_signal(number)
        return original(self, chosen, images, current)

    monkeypatch.setattr(TrainingStep, "__call__", call)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resumed_run_equals_an_uninterrupted_one(
    number: signal.Signals,
    make_recipe: MakeRecipe,
    reference: TrainingResult,
    quiet: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = make_recipe()
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell started the tests in the background
    with monkeypatch.context() as patch:
        stop_at(patch, step=7, number=number)
        with pytest.raises(TrainingInterrupted, match="stopped after step 8, 3 of 5 into epoch 2") as error:
            train(recipe, console=quiet)
    assert error.value.exit_code == 128 + number
    best = recipe.output / "best"
    assert f"{best} is not calibrated; `ait calibrate {best} IMAGES --only" in str(error.value)
    assert "not done" in json.loads((best / "config.json").read_text())["calibration"]
    assert signal.getsignal(signal.SIGINT) is before
    result = train(recipe, resume=True, console=quiet)
    assert len(result.history) == 3
    assert_same_run(recipe.output, reference.output)


def test_a_resumed_run_multiplies_as_it_did_before(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another measurement would find does not matter."""
    recipe, taken = make_recipe(), []
    monkeypatch.setattr(trainer, "fastest_products", accelerator.fastest_products)
    monkeypatch.setattr(accelerator, "_prefers_onednn", lambda: True)
    with monkeypatch.context() as patch:
        stop_at(patch, step=12, number=signal.SIGTERM)
        with pytest.raises(TrainingInterrupted):
            train(recipe, console=quiet)
    monkeypatch.setattr(accelerator, "_prefers_onednn", lambda: False)
    original = TrainingStep.__call__

    def call(self: TrainingStep, *arguments: Any) -> UpdateResult:
        taken.append(torch.get_float32_matmul_precision())
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", call)
    train(recipe, resume=True, console=quiet)
    assert taken == ["medium"] * 2
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_convolutional_network_goes_on_to_the_last_bit(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its weights and the optimiser's state lie channels-last while it trains, and in one order in files."""
    changes: dict[str, Any] = {"model": {"name": "test_resnet", "args": {}}, "epochs": 2}
    whole = train(make_recipe(**changes, output=str(tmp_path / "whole")), console=quiet)
    stopped = make_recipe(**changes, output=str(tmp_path / "stopped"))
    with monkeypatch.context() as patch:
        stop_at(patch, step=2, number=signal.SIGTERM)
        with pytest.raises(TrainingInterrupted, match="stopped after step 3"):
            train(stopped, console=quiet)
    train(stopped, resume=True, console=quiet)
    assert_same_run(stopped.output, whole.output)


def test_a_run_of_which_nothing_is_left_says_so(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe()
    done = train(recipe, console=quiet)
    told = Console(file=StringIO(), width=200)
    assert train(recipe, resume=True, console=told).history == done.history
    assert f"nothing is left to train: {recipe.epochs} of {recipe.epochs} epochs are done" in told.file.getvalue()


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


def test_a_signal_that_ends_the_compilers_too_stops_the_run(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One to the whole group of processes, such as Ctrl-C in a terminal, while the first step is compiled."""

    def killed(self: TrainingStep, chosen: Tensor, images: Tensor, current: int) -> UpdateResult:
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("the compiler was killed")

    monkeypatch.setattr(TrainingStep, "__call__", killed)
    with pytest.raises(TrainingInterrupted, match="stopped after step 0") as error:
        train(make_recipe(compile=True, epochs=1), console=quiet)
    assert error.value.exit_code == 130


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
    train_epoch = Trainer._train_epoch

    with monkeypatch.context() as patch:

        def then_die(self: Trainer) -> Any:
            row = train_epoch(self)
            if self.position.epoch == 1:
                if moment != "save_state":
                    # Whatever the accuracy, so that the best model is about to be replaced.
                    self.position.best_accuracy, self.position.best_epoch = -1.0, 0
                if moment == "replace":
                    patch.setattr(atomic.os, "rename", _rename_once_then(die))
                else:
                    patch.setattr(run_writer if moment == "save_model" else state, moment, die)
            return row

        patch.setattr(Trainer, "_train_epoch", then_die)
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


def test_killed_process_is_resumed(make_recipe: MakeRecipe, tmp_path: Path, quiet: Console) -> None:
    recipe = make_recipe()
    path = write_recipe(recipe, tmp_path / "recipe.yaml")
    # In the second epoch of five steps each.
    assert run_until("SIGKILL", "step", 7, recipe.output, [str(path)]).returncode == -signal.SIGKILL
    assert load_state(recipe.output / "last" / "state.safetensors").values["position"]["epoch"] == 1
    timm.create_model(f"local-dir:{recipe.output / 'best'}", pretrained=True)
    result = train(recipe.model_copy(update={"epochs": 2}), resume=True, console=quiet)
    assert [row["epoch"] for row in result.history] == [1, 2]


def test_sigterm_ends_the_process_with_its_code(
    make_recipe: MakeRecipe, recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    """As a user starts it: with several threads, and processes that load images."""
    recipe = make_recipe(data={**recipe_values["data"], "workers": 2})
    path = write_recipe(recipe, tmp_path / "recipe.yaml")
    signal = ["SIGTERM", "step", "7"]
    ended = run_module("tests.support.processes.ended_run", *signal, str(recipe.output), str(path), threads=2)
    assert ended.returncode == 143
    assert "SIGTERM: stopped after step 7, 2 of 5 into epoch 2" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert load_state(recipe.output / "last" / "state.safetensors").values["position"]["step"] == 7


def test_changed_settings_are_named_one_by_one() -> None:
    before = {
        "epochs": 2,
        "optimizer": {"name": "adamw", "lr": 0.1},
        "data": {"root": "a", "crop_pct": 1},
        "patience": 3,
    }
    now = {
        "epochs": 2,
        "optimizer": {"name": "adamw", "lr": 0.2},
        "data": {"root": "b", "crop_pct": None},
        "patience": 4,
    }
    assert state.changed_keys(before, before) == []
    assert state.changed_keys(before, now) == ["data.crop_pct", "optimizer.lr", "patience"]


def test_resume_with_another_recipe_is_refused(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe(epochs=1)
    train(recipe, console=quiet)
    other = make_recipe(epochs=1, batch_size=16, label_smoothing=0.1)
    with pytest.raises(CheckpointError, match="other settings \\(batch_size, label_smoothing\\)"):
        train(other, resume=True, console=quiet)
