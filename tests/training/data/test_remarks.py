"""A run says beforehand what its images will not give."""

from pathlib import Path

import torch

from training.data import LabelledImages
from training.data.duplicates import signatures_of
from training.data.remarks import remarks_on


def images(count: int, seed: int) -> LabelledImages:
    pixels = torch.randint(0, 256, (2 * count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    names = tuple(str(index) for index in range(2 * count))
    labels = torch.arange(2).repeat(count)
    return LabelledImages(Path("x"), ("a", "b"), names, labels, signatures=signatures_of(pixels.to(torch.uint8)))


def test_few_images_from_random_weights_are_told_with_the_remedy() -> None:
    (line,) = remarks_on(images(20, 0), images(4, 1), random_weights=True)
    assert "2 of 2 classes have fewer than 200 training images" in line
    assert "model.pretrained=auto" in line
    assert remarks_on(images(20, 0), images(4, 1), random_weights=False) == []
    assert remarks_on(images(200, 0), images(4, 1), random_weights=True) == []


def test_validation_images_that_are_trained_on_are_told() -> None:
    (line,) = remarks_on(images(20, 0), images(4, 0), random_weights=False)
    assert line.startswith("8 of 8 validation images are training images too")
