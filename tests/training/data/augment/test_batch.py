"""Batches are transformed as drawn, by one process or several."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.images.augmentation import CLASSES, PREPROCESSING, some_batch
from training.data import BatchTransform
from training.errors import RecipeError
from training.recipe.keys import AugmentRecipe
from training.seeds import stream

EVERYTHING = AugmentRecipe(
    crop_padding=3,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    erase=0.2,
    random_erasing=0.5,
    random_erasing_fill="noise",
    mixup=0.8,
    cutmix=1.0,
    mix_per="image",
)


def transform_all(transform: BatchTransform, images: Tensor, labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = transform.sample(len(images), stream(seed, 0, "augmentation"))
    return transform.apply(images, labels, draws, transform.share(len(images), torch.arange(len(images))))


@given(count=st.integers(1, 14), processes=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_several_processes_see_the_rows_of_the_one(count: int, processes: int, seed: int) -> None:
    images, labels = some_batch(count)
    transform = BatchTransform(EVERYTHING, PREPROCESSING, CLASSES)
    whole, targets = transform_all(transform, images, labels, seed)
    assert whole.shape == images.shape
    for rank in range(processes):
        draws = transform.sample(count, stream(seed, 0, "augmentation"))
        rows = torch.arange(count)[rank::processes]
        share = transform.share(count, rows)
        got = transform.apply(images[share.loaded], labels[share.loaded], draws, share)
        assert torch.equal(got[1], targets[rows])
        torch.testing.assert_close(got[0], whole[rows])
        assert count % (2 * processes) or torch.equal(share.loaded, rows)


def test_the_same_generator_gives_the_same_batch_and_the_global_one_is_left_alone() -> None:
    images, labels = some_batch(8)
    transform = BatchTransform(EVERYTHING, PREPROCESSING, CLASSES)
    before = torch.get_rng_state()
    first, again, other = (transform_all(transform, images, labels, seed) for seed in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_switched_on_only_normalises() -> None:
    images, labels = some_batch(5)
    transform = BatchTransform(AugmentRecipe(crop_padding=0, flip=False), PREPROCESSING, CLASSES)
    inputs, targets = transform_all(transform, images, labels)
    assert torch.equal(inputs, PREPROCESSING.normalise(images))
    assert torch.equal(targets, labels)


def test_a_shift_larger_than_the_image_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"augment\.crop_padding=16 .* 16 x 24 pixels.*set it to 2"):
        BatchTransform(AugmentRecipe(crop_padding=16), replace(PREPROCESSING, input_size=(3, 16, 24)), CLASSES)
