"""A run says beforehand what its images will not give."""

from pathlib import Path

import pytest
import torch

from training.data import LabelledImages
from training.data.duplicates import signatures_of
from training.data.preprocessing import Preprocessing
from training.data.remarks import remark_on_scale, remarks_on


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


def preprocessing(mean: float, std: float) -> Preprocessing:
    return Preprocessing((3, 8, 8), "bicubic", (mean,) * 3, (std,) * 3, 1.0, "center")


@pytest.mark.parametrize(("share", "told"), [(0.02, True), (0.5, False)])
def test_images_that_are_nearly_black_are_told_with_the_remedy(share: float, told: bool) -> None:
    lit = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < share
    pixels = (255 * lit).to(torch.uint8).expand(-1, 3, -1, -1)
    line = remark_on_scale(pixels, preprocessing(0.5, 0.5))
    assert (line is not None) == told
    if line is None:
        return
    mean, std = float(lit.float().mean()), float(lit.float().std(correction=0))
    for name, value in (("mean", mean), ("std", std)):
        assert f"data.{name}=[{value:.3g},{value:.3g},{value:.3g}]" in line
    assert remark_on_scale(pixels, preprocessing(mean, std)) is None


def test_images_without_any_difference_have_no_remedy() -> None:
    for count in (1, 4):
        assert remark_on_scale(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), preprocessing(0.5, 0.5)) is None


def test_the_remedy_is_one_that_can_be_set() -> None:
    images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    images[0, 0, 0, 0] = 1  # the other channels are the same all over
    line = remark_on_scale(images, preprocessing(0.5, 0.5))
    assert line is not None
    found = line.partition("data.std=")[2].strip("[]").split(",")
    assert len(found) == 3
    assert all(float(value) > 0 for value in found)
