"""Published sets are read from files of their own format, and missing or altered files are named."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from training.data import LabelledImages, Preprocessing, decode, open_evaluation, open_splits
from training.errors import DataError
from training.recipe.keys import DataRecipe

PREPROCESSING = Preprocessing((3, 32, 32), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")


def write_cifar(root: Path, dataset: Any, patch: pytest.MonkeyPatch, rows: int = 4) -> dict[str, list[Any]]:
    """Batches of `rows` images each in the published layout; returns the pixels and labels by split.

    The sums of the files that torchvision expects are replaced by those of the files written.
    """
    generator = np.random.default_rng(0)
    base = root / dataset.base_folder
    base.mkdir(parents=True)
    fine = dataset is datasets.CIFAR100
    classes = 100 if fine else 10
    written: dict[str, list[Any]] = {"train": [], "test": []}

    def write(name: str, content: dict[str, Any]) -> str:
        data = pickle.dumps(content, protocol=2)
        (base / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    for attribute, split in (("train_list", "train"), ("test_list", "test")):
        sums = []
        for name, _ in getattr(dataset, attribute):
            data = generator.integers(0, 256, (rows, 3072), dtype=np.uint8)
            labels = generator.integers(0, classes, rows).tolist()
            content: dict[str, Any] = {"data": data, "fine_labels" if fine else "labels": labels}
            if fine:
                content["coarse_labels"] = [0] * rows
            sums.append([name, write(name, content)])
            written[split] += zip(data, labels, strict=True)
        patch.setattr(dataset, attribute, sums)
    names = [f"thing {index}" for index in range(classes)]
    md5 = write(dataset.meta["filename"], {dataset.meta["key"]: names})
    patch.setattr(dataset, "meta", {**dataset.meta, "md5": md5})
    return written


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


def write_pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    breeds = [("Abyssinian", 1), ("american_bulldog", 2), ("Siamese", 1)]
    for split, start in (("trainval", 1), ("test", 101)):
        lines = []
        for number, (breed, species) in enumerate(breeds, start=1):
            for index in range(start, start + 2):
                lines.append(f"{breed}_{index} {number} {species} 1\n")
                colour = (number * 60, index, 0)
                Image.new("RGB", (50, 40), colour).save(base / "images" / f"{breed}_{index}.jpg", quality=95)
        (base / "annotations" / f"{split}.txt").write_text("".join(lines))


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
    with pytest.raises(DataError, match=r"1 images .*\n  images/Siamese_1\.jpg: .*No such file"):
        decode(train, PREPROCESSING, cache=tmp_path / "cache")
    (tmp_path / "oxford-iiit-pet" / "annotations" / "test.txt").unlink()
    with pytest.raises(DataError, match=r"annotations/test\.txt"):
        open_splits(DataRecipe(source="oxford_iiit_pet", root=tmp_path), seed=0)
