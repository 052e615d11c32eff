"""Signals are noted while a run is in progress."""

import signal
from typing import Any

import pytest
from rich.console import Console

from tests.support.processes.training_runs import MakeRecipe
from training.errors import TrainingInterrupted
from training.run import preparation
from training.run.interruption import Interruption
from training.run.trainer import train


def test_second_interrupt_is_immediate_and_handlers_return() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal_number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_is_answered_at_once_where_nothing_needs_saving() -> None:
    with Interruption() as interruption:
        with pytest.raises(TrainingInterrupted, match="nothing yet") as error, interruption.at_once("nothing yet"):
            signal.raise_signal(signal.SIGTERM)
        assert error.value.exit_code == 128 + signal.SIGTERM
        signal.raise_signal(signal.SIGTERM)  # noted again
        with pytest.raises(TrainingInterrupted), interruption.at_once("later"):
            pass


def test_a_run_stopped_while_its_images_are_prepared_leaves_nothing(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(preparation, "open_splits", interrupted)
    recipe = make_recipe()
    with pytest.raises(TrainingInterrupted, match="stopped before the first step") as error:
        train(recipe, console=quiet)
    assert error.value.exit_code == 130
    assert not recipe.output.exists()
