"""What a checkpoint is given for its service: a temperature and exemplars, by a run and by hand alike."""

import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from ait.interpret.embedding import embed_and_classify
from ait.interpret.exemplars import load_exemplars
from ait_lite.checkpoint import EXEMPLARS, read_temperature
from training.data import Preprocessing, decode
from training.data.sources.folder import scan_folder
from training.errors import CheckpointError, DataError
from training.evaluation.annotate import add_exemplars, calibrate_checkpoint
from training.evaluation.evaluate import evaluate
from training.evaluation.exemplars import choose_exemplars
from training.recipe.keys import Recipe
from training.recipe.loading import parse_recipe
from training.run.trainer import TrainingResult, train
from training.storage.model_folder import load_model

CHANGES = {"epochs": 1, "exemplars": 4, "seed": 7}


@pytest.fixture(scope="module")
def run(recipe_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, quiet: Console) -> TrainingResult:
    output = tmp_path_factory.mktemp("annotated") / "run"
    torch.set_num_threads(1)
    return train(parse_recipe({**recipe_values, **CHANGES, "output": str(output)}), console=quiet)


@pytest.fixture
def finished(run: TrainingResult, recipe_values: dict[str, Any], tmp_path: Path) -> Recipe:
    """The recipe of a copy of the run."""
    shutil.copytree(run.output, tmp_path / "run")
    return parse_recipe({**recipe_values, **CHANGES, "output": str(tmp_path / "run")})


@pytest.fixture
def checkpoint(run: TrainingResult, tmp_path: Path) -> Path:
    """The run's model as the trainer writes it before the end."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(run.checkpoint, folder)
    (folder / EXEMPLARS).unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["temperature"], config["calibration"]
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder


def test_a_run_calibrates_its_best_model_on_the_validation_images(
    run: TrainingResult, data_root: Path, cache: Path
) -> None:
    config = json.loads((run.checkpoint / "config.json").read_text())
    temperature = read_temperature(config)
    assert temperature is not None
    result = evaluate(run.checkpoint, data_root, cache=cache, device="cpu")
    assert result.top1 == run.best_accuracy
    assert result.checkpoint_temperature == temperature
    told = config["calibration"]
    assert told["images"] == result.images == 15
    assert told["ece"] == pytest.approx(result.ece)
    assert told["ece_at_temperature"] == pytest.approx(result.ece_at_checkpoint_temperature)
    assert told["nll_at_temperature"] <= told["nll"]
    page = (run.output / "report.md").read_text()
    assert f"carries the temperature {temperature:.3f}" in page
    assert f"{told['ece']:.2%} | {result.ece_at_temperature:.2%}" in page
    # The model itself answers as before.
    assert "temperature" not in load_model(run.checkpoint).pretrained_cfg


def test_a_run_keeps_training_images_with_what_its_best_model_makes_of_them(
    run: TrainingResult, data_root: Path, cache: Path
) -> None:
    exemplars = load_exemplars(run.checkpoint)
    assert exemplars is not None
    assert torch.bincount(exemplars.labels).tolist() == [4, 4, 4]
    model = load_model(run.checkpoint)
    samples = scan_folder(data_root / "train")
    chosen = samples.select([samples.names.index(name) for name in exemplars.names])
    assert torch.equal(exemplars.labels, chosen.labels)
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(chosen, preprocessing, cache=cache)
    with torch.inference_mode():
        features, logits = embed_and_classify(model, preprocessing.normalise(images))
    torch.testing.assert_close(exemplars.features, features, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(exemplars.logits, logits - logits.mean(1, keepdim=True), atol=2e-3, rtol=2e-3)
    for image, data in zip(images, exemplars.thumbnails, strict=True):
        with Image.open(BytesIO(data)) as thumbnail:
            shown = torch.from_numpy(np.asarray(thumbnail.convert("RGB"), dtype=np.float32)).mean((0, 1))
        torch.testing.assert_close(shown, image.float().mean((1, 2)), atol=4, rtol=0)


def test_by_hand_a_checkpoint_is_given_what_a_run_gives(
    run: TrainingResult, checkpoint: Path, data_root: Path, cache: Path
) -> None:
    calibrate_checkpoint(checkpoint, data_root, cache=cache, device="cpu")
    kept = add_exemplars(checkpoint, data_root, count=4, seed=7, cache=cache, device="cpu")
    assert kept == 12
    for name in ("config.json", "model.safetensors", EXEMPLARS):
        assert (checkpoint / name).read_bytes() == (run.checkpoint / name).read_bytes(), name
    assert sorted(path.name for path in checkpoint.iterdir()) == ["config.json", EXEMPLARS, "model.safetensors"]


def test_listed_images_are_left_out(checkpoint: Path, data_root: Path, cache: Path, tmp_path: Path) -> None:
    names = scan_folder(data_root / "train").names
    listed = tmp_path / "validation.txt"
    listed.write_text("".join(f"{name}\n" for name in names if not name.endswith("0.png")))
    assert add_exemplars(checkpoint, data_root, exclude=listed, cache=cache, device="cpu") == 6
    exemplars = load_exemplars(checkpoint)
    assert exemplars is not None
    assert all(name.endswith("0.png") for name in exemplars.names)
    listed.write_text("".join(f"{name}\n" for name in names))
    with pytest.raises(DataError, match="lists every image"):
        add_exemplars(checkpoint, data_root, exclude=listed, cache=cache, device="cpu")


def test_temperature_is_fitted_to_the_listed_images(
    checkpoint: Path, data_root: Path, cache: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "only.txt"
    listed.write_text("ant/000.png\nbee/001.png\n")
    assert calibrate_checkpoint(checkpoint, data_root / "train", only=listed, cache=cache, device="cpu").images == 2


def test_a_finished_run_that_is_continued_writes_the_same_files(
    run: TrainingResult, finished: Recipe, quiet: Console
) -> None:
    train(finished, resume=True, console=quiet)
    for path in run.checkpoint.iterdir():
        assert (finished.output / "best" / path.name).read_bytes() == path.read_bytes()
    assert len(list((finished.output / "best").iterdir())) == 3


def test_no_training_image_is_kept_if_none_is_wanted(finished: Recipe, quiet: Console) -> None:
    result = train(finished.model_copy(update={"exemplars": 0}), resume=True, console=quiet)
    assert sorted(path.name for path in result.checkpoint.iterdir()) == ["config.json", "model.safetensors"]
    assert "temperature" in json.loads((result.checkpoint / "config.json").read_text())


@pytest.mark.parametrize("temperature", ["hot", 0, -1, True, float("nan")])
def test_a_temperature_that_is_none_is_refused_by_name(
    checkpoint: Path, data_root: Path, cache: Path, temperature: Any
) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"temperature": temperature}))
    with pytest.raises(CheckpointError, match=rf"{checkpoint.name}: temperature.*ait calibrate"):
        evaluate(checkpoint, data_root, cache=cache, device="cpu")


def test_flipped_answers_are_not_divided(run: TrainingResult, data_root: Path, cache: Path) -> None:
    result = evaluate(run.checkpoint, data_root, cache=cache, device="cpu", flip=True)
    assert result.checkpoint_temperature is None


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 5), st.integers(0, 10**6))
def test_exemplars_are_so_many_of_every_class(values: list[int], count: int, seed: int) -> None:
    labels = torch.tensor(values)
    chosen = choose_exemplars(labels, count, seed)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    expected = torch.bincount(labels).clamp(max=count)
    assert torch.equal(torch.bincount(labels[chosen], minlength=len(expected)), expected)
    assert torch.equal(chosen, choose_exemplars(labels, count, seed))


def test_the_seed_decides_which() -> None:
    labels = torch.zeros(1000, dtype=torch.int64)
    assert not torch.equal(choose_exemplars(labels, 10, 0), choose_exemplars(labels, 10, 1))
