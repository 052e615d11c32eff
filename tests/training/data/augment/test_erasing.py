"""Random erasing erases the rectangles that were drawn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.images.augmentation import PREPROCESSING, SIDE
from training.data.augment.erasing import RandomErasing
from training.data.augment.rectangles import area, inside


@given(height=st.integers(6, 40), width=st.integers(6, 40), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_erased_area_is_within_the_range(height: int, width: int, seed: int) -> None:
    erasing = RandomErasing(1.0, "mean", (1, height, width), (0.0,))
    draws = erasing.sample(8, torch.Generator().manual_seed(seed))
    erased = erasing.apply(torch.full((8, 1, height, width), 255, dtype=torch.uint8), draws) == 0
    assert torch.equal(erased, inside(draws.box, height, width))
    tall, wide = erased.any(dim=3).sum(dim=2), erased.any(dim=2).sum(dim=2)  # (8, 1)
    # Sides are rounded to whole pixels.
    slack = (tall + wide + 1) / 2 + 0.25
    pixels = erased.sum(dim=(2, 3))
    drawn = pixels > 0
    assert (pixels <= height * width / 3 + slack).all()
    assert (pixels >= 0.02 * height * width - slack)[drawn].all()
    assert (tall < height).all()
    assert (wide < width).all()
    aspects = torch.stack([(tall - 0.5) / (wide + 0.5), (tall + 0.5) / (wide - 0.5)])[:, drawn]
    assert (aspects[0] <= 1 / 0.3 + 1e-6).all()
    assert (aspects[1] >= 0.3 - 1e-6).all()


def test_random_erasing_takes_its_share_and_covers_the_image() -> None:
    erasing = RandomErasing(0.25, "mean", (3, 32, 32), (0.1, 0.2, 0.3))
    draws = erasing.sample(4000, torch.Generator().manual_seed(0))
    share = (area(draws.box) > 0).float().mean().item()
    assert share == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))
    # Uniform between 0.02 and a third of the image; the largest and longest do not fit.
    assert area(draws.box)[area(draws.box) > 0].float().mean().item() / 1024 == pytest.approx(0.17, abs=0.02)
    covered = inside(draws.box, 32, 32).any(dim=0)
    assert covered.all()


def test_erased_means_become_zero_inputs_and_noise_is_of_an_images_own() -> None:
    images = torch.full((16, 3, SIDE, SIDE), 200, dtype=torch.uint8)
    for fill in ("mean", "noise"):
        erasing = RandomErasing(1.0, fill, PREPROCESSING.input_size, PREPROCESSING.mean)
        draws = erasing.sample(16, torch.Generator().manual_seed(1))
        erased = erasing.apply(images, draws)
        mask = inside(draws.box, SIDE, SIDE).expand_as(images)
        assert (erased[~mask] == 200).all()
        if fill == "mean":
            assert PREPROCESSING.normalise(erased)[mask].abs().max() < 0.5 / 255 / 0.2 + 1e-6
        else:
            noise = erased[mask].float()
            assert noise.mean() == pytest.approx(127.5, abs=10)
            assert noise.std() == pytest.approx(73.9, abs=7)
            both = (mask[0] & mask[1]).nonzero()
            assert len(both) > 0
            assert not torch.equal(erased[0][tuple(both.T)], erased[1][tuple(both.T)])
