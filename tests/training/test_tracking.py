"""Metrics reach the files and the trackers once an epoch, however often the run is resumed."""

import csv
import json
import sys
from pathlib import Path

import pytest
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.errors import RecipeError
from training.recipe.loading import load_recipe
from training.run.tracking import Trackers
from training.storage.history import read_metrics, write_metrics

ROWS = [{"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch} for epoch in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _process() -> None:
    """Trackers ask accelerate which process they are in."""
    Accelerator(cpu=True)


def logged(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tracking" / "tensorboard"))
    events.Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]


def test_files_hold_a_row_an_epoch_however_often_they_are_written(tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[1] | {"val_acc": 0.5}]
    for history in (rows[:1], rows, rows):
        write_metrics(tmp_path, history)
    assert read_metrics(tmp_path / "metrics.jsonl") == rows
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert [row["val_acc"] for row in table] == ["", "0.5"]


def test_json_lines_have_null_for_what_is_no_number(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"epoch": 1, "a": float("nan"), "b": float("inf"), "c": 2.0}])
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"epoch": 1, "a": None, "b": None, "c": 2.0}
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"epoch": 1, "c": 2.0}]


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
