"""Images of the experiment, and one small run of it."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from training.errors import DataError
from training.experiments.familiarity.images import (
    SHAPES,
    SIZE,
    draw_noise,
    draw_textures,
    folder_images,
    shape_images,
)
from training.experiments.familiarity.unknown import SCORES, SETS, Data, held_out, measure, select


def test_images_are_reproduced_by_their_seed() -> None:
    first, second = (shape_images(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert first[0].shape == (3 * SHAPES, 3, SIZE, SIZE)
    assert first[1].bincount().tolist() == [3] * SHAPES
    for draw in (draw_textures, draw_noise):
        images = draw(2, 3, SIZE, torch.Generator().manual_seed(1))
        assert images.shape == (2, 3, SIZE, SIZE)
        assert images.isfinite().all()


def test_other_classes_are_held_out_by_each_seed() -> None:
    assert sorted(label for seed in range(5) for label in held_out(10, seed)) == list(range(10))
    images, labels = select(torch.arange(6.0), torch.tensor([0, 1, 2, 0, 1, 2]), [0, 2])
    assert images.tolist() == [0, 2, 3, 5]
    assert labels.tolist() == [0, 1, 0, 1]


def test_every_score_is_measured_on_every_set() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    accuracy, found = measure(Data(*shape_images(16, generator), *shape_images(8, generator)), 1, 0)
    assert 0 <= accuracy <= 1
    assert set(found) == set(SCORES)
    for row in found.values():
        assert set(row) == set(SETS)
        assert all(0 <= value <= 1 for pair in row.values() for value in pair)


def test_folders_of_classes_are_read(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        for number, name in enumerate(("ant", "bee", "cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (20, 10), (60 * number, index, 0)).save(folder / f"{index}.png")
    images, labels, other, other_labels = folder_images(tmp_path, 4, size=8)
    assert images.shape == (16, 3, 8, 8)
    assert labels.bincount().tolist() == [4] * 4
    assert other.shape == (4, 3, 8, 8)
    assert other_labels.tolist() == [0, 1, 2, 3]
    assert images[-1, 0, 0, 0].item() == pytest.approx(180 / 127.5 - 1)


def test_a_folder_without_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        folder_images(tmp_path, 4)
