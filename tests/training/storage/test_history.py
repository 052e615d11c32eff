"""Metrics reach the files once an epoch, however often they are written."""

import csv
import json
from pathlib import Path

import pytest

from training.storage.history import read_metrics, write_metrics

ROWS = [{"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch} for epoch in (1, 2, 3)]


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
