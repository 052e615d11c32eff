"""Runs learn any number of classes an image, from tables of two forms."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from ait_cli.main import app
from ait_lite.checkpoint import read_config, update_config
from tests.support.processes.training_runs import MakeRecipe, assert_same_run
from training.data import open_splits
from training.errors import CheckpointError, DataError, RecipeError
from training.evaluation.annotate import add_exemplars, calibrate_checkpoint
from training.recipe.keys import DataRecipe
from training.run.trainer import train
from training.storage.history import read_metrics

NAMES = ("red", "green", "blue")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with any of three colours raised, 48 to train on and 24 to validate."""
    root = tmp_path_factory.mktemp("tags")
    generator = np.random.default_rng(0)
    lists, columns = ["path,label,split"], ["path,split,red,green,blue"]
    for index in range(72):
        has = generator.integers(0, 2, 3)
        pixels = generator.integers(0, 120, (16, 16, 3)) + 120 * has
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{index}.png")
        side = "train" if index < 48 else "val"
        lists.append(f"{index}.png,{'|'.join(name for name, value in zip(NAMES, has, strict=True) if value)},{side}")
        columns.append(f"{index}.png,{side},{','.join(map(str, has))}")
    (root / "lists.csv").write_text("\n".join(lists) + "\n")
    (root / "columns.csv").write_text("\n".join(columns) + "\n")
    return root / "lists.csv"


def test_both_forms_of_a_table_say_the_same(table: Path) -> None:
    first, second = (
        open_splits(DataRecipe(source="table", root=table.with_name(name), multi_label=True), seed=0)
        for name in ("lists.csv", "columns.csv")
    )
    for one, other in zip(first, second, strict=True):
        assert one.classes == other.classes == ("blue", "green", "red")
        assert one.targets is not None
        assert other.targets is not None
        assert one.targets.tolist() == other.targets.tolist()
        assert {0, 1, 2, 3} >= set(one.targets.sum(dim=1).tolist())
    held_out = DataRecipe(source="table", root=table, multi_label=True, validation_fraction=0.25)
    kept, held = open_splits(held_out, seed=0)
    assert (len(kept), len(held)) == (36, 12)
    table.with_name("wrong.csv").write_text("path,red,blue\n0.png,1,2\n")
    with pytest.raises(DataError, match=r"row 1: blue=2; expected 0 or 1"):
        open_splits(DataRecipe(source="table", root=table.with_name("wrong.csv"), multi_label=True), seed=0)


def test_a_run_learns_keeps_thresholds_and_is_evaluated(
    table: Path, make_recipe: MakeRecipe, cache: Path, quiet: Console, tmp_path: Path
) -> None:
    recipe = make_recipe(
        data={"source": "table", "root": str(table), "cache": str(cache), "multi_label": True, "workers": 0},
        loss="bce",
        epochs=4,
        augment={"crop_padding": 0, "mixup": 0.1},
        accumulate=2,
    )
    result = train(recipe, console=quiet)
    rows = read_metrics(recipe.output / "metrics.jsonl")
    assert result.best_accuracy == max(max(row["val_map"], row["ema_val_map"]) for row in rows)
    assert result.best_accuracy > 0.9
    config = read_config(result.checkpoint)
    assert config["multi_label"] is True
    assert config["label_names"] == ["blue", "green", "red"]
    assert set(config["thresholds"]) == set(NAMES)
    assert "average precision" in (recipe.output / "report.md").read_text()

    asked = [
        "evaluate",
        str(result.checkpoint),
        str(table.with_name("columns.csv")),
        "--json",
        "--report",
        str(tmp_path / "report"),
    ]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    measured = json.loads(found.stdout)
    assert measured["mean_average_precision"] == pytest.approx(result.best_accuracy)
    assert {name: each["threshold"] for name, each in measured["per_class"].items()} == config["thresholds"]
    assert (tmp_path / "report" / "report.md").is_file()
    runtimes = ["--runtime", "torch", "--runtime", "onnxruntime"]
    asked = ["evaluate", str(result.checkpoint), str(table), *runtimes, "--json"]
    in_runtimes = CliRunner().invoke(app, asked)
    assert in_runtimes.exit_code == 0, in_runtimes.output
    for each in json.loads(in_runtimes.stdout)["runtimes"]:
        assert (each["reason"], each["same_classes"]) == ("", 1.0)
        assert each["mean_average_precision"] == pytest.approx(result.best_accuracy)
        assert each["loss"] == pytest.approx(measured["loss"], rel=1e-3)
    with pytest.raises(CheckpointError, match="any number of classes"):
        calibrate_checkpoint(result.checkpoint, table, source="table")
    with pytest.raises(CheckpointError, match="any number of classes"):
        add_exemplars(result.checkpoint, table, source="table")
    # Calibrated on the validation images again, the thresholds are the run's.
    other = shutil.copytree(result.checkpoint, tmp_path / "other")
    update_config(other, {"thresholds": dict.fromkeys(NAMES, 0.99)})
    done = CliRunner().invoke(app, ["calibrate", str(other), str(table), "--output", str(tmp_path / "fitted")])
    assert done.exit_code == 0, done.output
    assert read_config(tmp_path / "fitted")["thresholds"] == config["thresholds"]
    assert read_config(other)["thresholds"]["red"] == 0.99

    listed = tmp_path / "differing.csv"
    asked = ["compare", str(result.checkpoint), str(other), str(table), "--output", str(listed)]
    beside = CliRunner().invoke(app, asked)
    assert beside.exit_code == 0, beside.output
    assert "mean over classes" in beside.output
    assert "+0.0000" in beside.output
    assert "no difference" in beside.output
    assert listed.read_text().startswith("image,labels,first,first_mistakes")
    with_itself = CliRunner().invoke(app, ["compare", str(recipe.output), str(recipe.output), "--json"])
    assert with_itself.exit_code == 0, with_itself.output
    assert json.loads(with_itself.stdout)["overall"]["first"] == pytest.approx(result.best_accuracy)
    mixed = CliRunner().invoke(app, ["compare", str(other), "ait_tiny_patch4_32.cifar10", str(table)])
    assert mixed.exit_code == 1
    assert "cannot be compared" in mixed.output
    table.with_name("none.csv").write_text("path,red,green,blue\n0.png,0,0,0\n1.png,0,0,0\n")
    for name, reason in (("none.csv", "no image has any class"), ("missing.csv", "missing.csv")):
        refused = CliRunner().invoke(app, ["compare", str(other), str(other), str(table.with_name(name))])
        assert refused.exit_code == 1
        assert reason in refused.output

    # To the bit, as every run.
    again = recipe.model_copy(update={"output": tmp_path / "again"})

    class Cut(Exception):
        pass

    def cut(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            raise Cut

    with pytest.raises(Cut):
        train(again, console=quiet, after_epoch=cut)
    train(again, resume=True, console=quiet)
    (again.output / "best" / "exemplars.safetensors").write_bytes(b"")
    (recipe.output / "best" / "exemplars.safetensors").write_bytes(b"")
    assert_same_run(again.output, recipe.output)


def test_what_does_not_go_with_several_classes_is_refused(make_recipe: MakeRecipe, table: Path) -> None:
    data = {"source": "table", "root": str(table), "multi_label": True}
    with pytest.raises(RecipeError, match=r"data\.multi_label needs loss=bce"):
        make_recipe(data=data)
    with pytest.raises(RecipeError, match=r"needs data\.source=table, method=gradient"):
        make_recipe(data={"root": str(table), "multi_label": True}, loss="bce", method="closed_form")
