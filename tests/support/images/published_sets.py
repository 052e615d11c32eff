"""Small files in the layouts of published sets."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets


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
