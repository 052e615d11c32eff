"""Metrics reach the trackers once an epoch, however often the run is resumed."""

import sys
from pathlib import Path

import pytest
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.errors import RecipeError
from training.recipe.loading import load_recipe
from training.run.output.tracking import Trackers

ROWS = [{"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch} for epoch in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _process() -> None:
    """Trackers ask accelerate which process they are in."""
    Accelerator(cpu=True)


def logged(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tracking" / "tensorboard"))
    events.Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]


def test_tensorboard_gets_every_scalar_at_its_step(tmp_path: Path) -> None:
    with Trackers(["tensorboard"], tmp_path, settings={}) as trackers:
        for row in ROWS:
            trackers.log(row | {"broken": float("nan")})
    assert logged(tmp_path, "train_loss") == [(row["step"], row["train_loss"]) for row in ROWS]
    assert logged(tmp_path, "epoch") == [(10, 1), (20, 2), (30, 3)]
    with pytest.raises(KeyError):
        logged(tmp_path, "broken")


def test_a_resumed_run_repeats_no_step(tmp_path: Path) -> None:
    killed = Trackers(["tensorboard"], tmp_path, settings={})
    killed.log(ROWS[0])
    killed.log(ROWS[1])  # and killed before the checkpoint of this epoch
    with Trackers(["tensorboard"], tmp_path, settings={}, step=10) as resumed:
        resumed.log(ROWS[1] | {"train_loss": 0.25})
        resumed.log(ROWS[2])
    killed.close()
    assert logged(tmp_path, "train_loss") == [(10, 1.0), (20, 0.25), (30, 1 / 3)]


def test_no_tracker_leaves_no_folder(tmp_path: Path) -> None:
    with Trackers([], tmp_path, settings={}) as trackers:
        trackers.log(ROWS[0])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RecipeError, match=r"wandb, not installed .*associative-transformer\[tracking\]"):
        Trackers(["tensorboard", "wandb"], tmp_path, settings={})
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_names_the_trackers() -> None:
    assert load_recipe("folder").tracking == ()
    assert load_recipe("folder", ["tracking=[tensorboard, wandb]"]).tracking == ("tensorboard", "wandb")
    with pytest.raises(RecipeError, match="tracking"):
        load_recipe("folder", ["tracking=[tensorbord]"])
