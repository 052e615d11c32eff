"""A checkpoint gets the accuracy that its training reported, on every image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import timm.data
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from ait_cli.main import app
from training.data import Preprocessing, decode
from training.data.sources.folder import scan_folder
from training.errors import CheckpointError, DataError
from training.evaluation import scoring
from training.evaluation.evaluate import evaluate
from training.recipe.keys import Recipe
from training.recipe.loading import parse_recipe
from training.run.trainer import TrainingResult, train
from training.storage.history import write_metrics
from training.storage.model_folder import load_model

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def run(recipe_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, quiet: Console) -> TrainingResult:
    output = tmp_path_factory.mktemp("evaluated") / "run"
    return train(parse_recipe({**recipe_values, "output": str(output), "seed": 5}), console=quiet)


def test_evaluation_equals_the_accuracy_reported_in_training(
    run: TrainingResult, data_root: Path, cache: Path, tmp_path: Path
) -> None:
    result = evaluate(run.checkpoint, data_root, cache=cache, device="cpu", confusion_png=tmp_path / "confusion.png")
    assert result.top1 == run.best_accuracy
    assert result.images == 15
    assert result.classes == CLASSES
    assert result.confusion.sum(dim=1).tolist() == [5, 5, 5]
    assert result.per_class == {name: int(result.confusion[i, i]) / 5 for i, name in enumerate(CLASSES)}
    assert result.top5 is None
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(json.dumps(result.to_json()))["top1"] == result.top1
    metrics = json.loads((run.checkpoint / "config.json").read_text())["metrics"]
    assert metrics["validation_accuracy"] == run.best_accuracy
    assert metrics["epoch"] == run.best_epoch


def test_partial_last_batch_counts(
    run: TrainingResult, data_root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "EVALUATION_BATCH", 4)
    result = evaluate(run.checkpoint, data_root, cache=cache, device="cpu")
    assert result.images == 15
    assert result.top1 == run.best_accuracy


def test_flipping_averages_the_probabilities_of_both_ways_round(
    run: TrainingResult, data_root: Path, cache: Path
) -> None:
    model = load_model(run.checkpoint)
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(scan_folder(data_root / "test"), preprocessing, cache=cache)
    place = torch.device("cpu")
    plain, mirrored = (scoring.predict_all(model, each, preprocessing, place) for each in (images, images.flip(-1)))
    both = scoring.predict_all(model, images, preprocessing, place, flip=True)
    expected = (plain.softmax(dim=1) + mirrored.softmax(dim=1)) / 2
    torch.testing.assert_close(both.exp(), expected)
    torch.testing.assert_close(scoring.predict_all(model, images.flip(-1), preprocessing, place, flip=True), both)
    result = evaluate(run.checkpoint, data_root, cache=cache, device="cpu", flip=True)
    labels = scan_folder(data_root / "test").labels
    assert result.top1 == float((expected.argmax(dim=1) == labels).double().mean())


def test_flipping_stays_finite_where_probabilities_underflow() -> None:
    class Sure(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, 300.0]]).expand(len(images), 2)

    preprocessing = Preprocessing((3, 4, 4), "bicubic", (0.5,) * 3, (0.5,) * 3, 1.0, "center")
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    logits = scoring.predict_all(Sure(), images, preprocessing, torch.device("cpu"), flip=True)
    torch.testing.assert_close(logits, torch.tensor([[-300.0, 0.0]]).expand(3, 2))


def test_report_of_a_runs_checkpoint_has_its_curves_and_settings(
    run: TrainingResult, data_root: Path, cache: Path, tmp_path: Path
) -> None:
    write_metrics(run.output, run.history)
    evaluate(run.checkpoint, data_root, cache=cache, device="cpu", report=tmp_path)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"| best epoch | {run.best_epoch} of {len(run.history)} |" in page
    assert f"| top-1 accuracy | {run.best_accuracy:.2%} |" in page
    assert "](curves.png)" in page
    assert (tmp_path / "curves.png").is_file()
    assert "name: nmuon" in page


def test_a_model_with_infinite_answers_is_refused(
    run: TrainingResult, data_root: Path, cache: Path, tmp_path: Path
) -> None:
    weights = load_file(run.checkpoint / "model.safetensors")
    for name in ("head.weight", "head.bias"):
        weights[name].fill_(torch.finfo(torch.float32).max)  # their sums are beyond what float32 can write
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((run.checkpoint / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"ant/000\.png with logits that are not finite"):
        evaluate(tmp_path, data_root, cache=cache, device="cpu")


def test_accuracy_equals_timms_own_pipeline(run: TrainingResult, data_root: Path) -> None:
    """Image by image, with nothing of the trainer: create_model, create_transform, argmax."""
    model = timm.create_model(f"local-dir:{run.checkpoint}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    names = model.pretrained_cfg["label_names"]
    files = sorted((data_root / "test").rglob("*.png"))
    with torch.inference_mode():
        right = [
            names[int(model(transform(Image.open(file).convert("RGB"))[None]).argmax())] == file.parent.name
            for file in files
        ]
    assert sum(right) / len(right) == run.best_accuracy


def test_held_out_images_can_be_evaluated(
    data_root: Path, cache: Path, make_recipe: Callable[..., Recipe], quiet: Console
) -> None:
    recipe = make_recipe(epochs=1, data={"root": str(data_root), "cache": str(cache), "validation_fraction": 0.3})
    trained = train(recipe, console=quiet)
    result = evaluate(trained.checkpoint, data_root, only=trained.output / "validation.txt", cache=cache, device="cpu")
    assert result.images == 9
    assert result.top1 == trained.best_accuracy
    with pytest.raises(DataError, match=r"model\.safetensors is no list of names"):
        evaluate(trained.checkpoint, data_root, only=trained.checkpoint / "model.safetensors", device="cpu")


def test_tables_are_evaluated_as_folders_are(run: TrainingResult, data_root: Path, cache: Path) -> None:
    files = sorted((data_root / "test").rglob("*.png"))
    table = data_root / "test.csv"
    rows = [f"{file.relative_to(data_root).as_posix()},{file.parent.name}\n" for file in files]
    table.write_text("".join(["path,label\n", *rows]))
    result = evaluate(run.checkpoint, table, source="table", cache=cache, device="cpu")
    assert torch.equal(result.confusion, evaluate(run.checkpoint, data_root, cache=cache, device="cpu").confusion)
    printed = CliRunner().invoke(app, ["evaluate", str(run.checkpoint), str(table), "--source", "table", "--json"])
    assert json.loads(printed.stdout)["top1"] == result.top1
    refused = CliRunner().invoke(app, ["evaluate", str(run.checkpoint), "--source", "table"])
    assert refused.exit_code == 1
    assert "the source table needs a data folder" in refused.stderr


def test_labels_follow_the_checkpoints_names(
    run: TrainingResult, data_root: Path, cache: Path, tmp_path: Path
) -> None:
    """A folder with some of the classes only is scored by name, not by position."""
    (tmp_path / "cat").symlink_to(data_root / "test" / "cat")
    whole = evaluate(run.checkpoint, data_root, cache=cache, device="cpu")
    part = evaluate(run.checkpoint, tmp_path, cache=cache, device="cpu")
    assert part.images == 5
    assert part.per_class == {"cat": whole.per_class["cat"]}


def test_unknown_classes_are_refused(run: TrainingResult, tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "dog" / "0.png")
    with pytest.raises(DataError, match="does not know: dog"):
        evaluate(run.checkpoint, tmp_path, device="cpu")


def test_checkpoint_rebuilds_the_model_exactly(run: TrainingResult, data_root: Path, cache: Path) -> None:
    model = load_model(run.checkpoint)
    assert tuple(model.pretrained_cfg["label_names"]) == CLASSES
    assert model.pretrained_cfg["crop_pct"] == 1.0
    assert len(model.blocks) == 2
    again = load_model(run.checkpoint)
    _, images = decode(scan_folder(data_root / "test"), Preprocessing.of_model(model), cache=cache)
    inputs = Preprocessing.of_model(model).normalise(images)
    with torch.inference_mode():
        assert torch.equal(model(inputs), again(inputs))


def test_broken_checkpoints_are_refused_by_name(run: TrainingResult, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks config\.json and model\.safetensors"):
        load_model(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run.checkpoint / name).read_bytes())
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_model(tmp_path)
