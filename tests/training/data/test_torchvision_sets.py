"""Published sets are read from files of their own format, and missing or altered files are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from tests.support.images.published_sets import write_cifar, write_pets
from training.data import LabelledImages, Preprocessing, decode, open_evaluation, open_splits
from training.errors import DataError
from training.recipe.keys import DataRecipe

PREPROCESSING = Preprocessing((3, 32, 32), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")


def assert_holds(samples: LabelledImages, rows: list[Any]) -> None:
    assert samples.labels.tolist() == [label for _, label in rows]
    assert samples.pixels is not None
    # Each row of a file is the red plane, then the green and the blue one.
    assert np.array_equal(samples.pixels.numpy(), np.stack([data for data, _ in rows]).reshape(-1, 3, 32, 32))


@pytest.mark.parametrize(("source", "dataset"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar_files_are_read(source: str, dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_cifar(tmp_path, dataset, monkeypatch)
    train, validation = open_splits(DataRecipe.model_validate({"source": source, "root": tmp_path}), seed=0)
    assert_holds(train, written["train"])
    assert_holds(validation, written["test"])
    assert len(train.classes) == (10 if source == "cifar10" else 100)
    assert train.classes[7] == "thing 7"
    assert len({*train.names, *validation.names}) == len(train) + len(validation)
    assert open_evaluation(source, tmp_path).names == validation.names
    _, images = decode(train, PREPROCESSING, cache=tmp_path / "cache")
    assert train.pixels is not None
    assert torch.equal(images, train.pixels)
    assert np.array_equal(np.asarray(train.image(3)), train.pixels[3].permute(1, 2, 0).numpy())


def test_missing_and_altered_cifar_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = DataRecipe(source="cifar10", root=tmp_path)
    with pytest.raises(DataError) as error:
        open_splits(recipe, seed=0)
    for name in ("data_batch_1", "data_batch_5", "test_batch", "batches.meta"):
        assert str(tmp_path / "cifar-10-batches-py" / name) in str(error.value)
    write_cifar(tmp_path, datasets.CIFAR10, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"something else")
    with pytest.raises(DataError, match="not the published one"):
        open_splits(recipe, seed=0)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(DataError, match=r"missing.*\n.*data_batch_2$"):
        open_splits(recipe, seed=0)


def test_pets_are_read_by_their_annotations(tmp_path: Path) -> None:
    write_pets(tmp_path)
    train, validation = open_splits(DataRecipe(source="oxford_iiit_pet", root=tmp_path), seed=0)
    assert train.classes == validation.classes == ("Abyssinian", "American Bulldog", "Siamese")
    assert train.labels.tolist() == validation.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert validation.names[2] == "images/american_bulldog_101.jpg"
    _, images = decode(validation, PREPROCESSING, cache=tmp_path / "cache")
    reds = images[:, 0, 16, 16].int()
    assert (reds - torch.tensor([60, 60, 120, 120, 180, 180])).abs().max() <= 4


def test_missing_pets_are_named(tmp_path: Path) -> None:
    write_pets(tmp_path)
    (tmp_path / "oxford-iiit-pet" / "images" / "Siamese_1.jpg").unlink()
    train, _ = open_splits(DataRecipe(source="oxford_iiit_pet", root=tmp_path), seed=0)
    with pytest.raises(DataError, match=r"1 image .*\n  images/Siamese_1\.jpg: .*No such file"):
        decode(train, PREPROCESSING, cache=tmp_path / "cache")
    (tmp_path / "oxford-iiit-pet" / "annotations" / "test.txt").unlink()
    with pytest.raises(DataError, match=r"annotations/test\.txt"):
        open_splits(DataRecipe(source="oxford_iiit_pet", root=tmp_path), seed=0)
