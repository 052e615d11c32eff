"""Batches are shifted, flipped, coloured and erased as drawn."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from training.data import Augmentation
from training.data.augment.operations import change_colours, erase_square, shift_and_flip
from training.recipe.keys import AugmentRecipe
from training.seeds import stream


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_shift_and_flip_is_a_crop_of_the_padded_image(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(5, 9)), data.draw(st.integers(5, 9))
    rows, columns = data.draw(st.integers(-4, 4)), data.draw(st.integers(-4, 4))
    flip = data.draw(st.booleans())
    image = torch.arange(2 * height * width).reshape(1, 2, height, width)
    padded = F.pad(image.double(), (4, 4, 4, 4), mode="reflect").long()
    expected = padded[:, :, 4 + rows : 4 + rows + height, 4 + columns : 4 + columns + width]
    if flip:
        expected = expected.flip(3)
    got = shift_and_flip(image, torch.tensor([[rows, columns]]), torch.tensor([flip]))
    assert torch.equal(got, expected)


def test_flip_twice_is_no_change() -> None:
    images = torch.randint(0, 256, (4, 3, 7, 9), dtype=torch.uint8)
    still, flip = torch.zeros(4, 2, dtype=torch.int64), torch.tensor([True, False, True, False])
    once = shift_and_flip(images, still, flip)
    assert torch.equal(once[0], images[0].flip(2))
    assert torch.equal(once[1], images[1])
    assert torch.equal(shift_and_flip(once, still, flip), images)


def test_draws_are_a_function_of_the_generator_and_leave_values_in_range() -> None:
    recipe = AugmentRecipe(crop_padding=3, brightness=0.5, contrast=0.5, saturation=0.5, erase=0.25)
    augmentation = Augmentation(recipe)
    images = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8)
    first, again, other = (
        augmentation.apply(images, augmentation.sample(16, stream(0, epoch, "augmentation"))) for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 255


def test_each_image_is_augmented_by_its_own_draws() -> None:
    augmentation = Augmentation(AugmentRecipe(crop_padding=3, contrast=0.5, erase=0.25))
    images = torch.randint(0, 256, (6, 3, 12, 12), dtype=torch.uint8)
    draws = augmentation.sample(6, stream(0, 0, "augmentation"))
    whole = augmentation.apply(images, draws)
    for rank in range(2):
        share = slice(rank, None, 2)
        assert torch.equal(augmentation.apply(images[share], draws[share]), whole[share])


def test_nothing_switched_on_changes_nothing() -> None:
    augmentation = Augmentation(AugmentRecipe(crop_padding=0, flip=False))
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(augmentation.apply(images, augmentation.sample(4, torch.Generator())), images)
    assert torch.allclose(change_colours(images, torch.ones(4, 3)), images.float(), atol=1e-3)


def test_erasing_changes_one_square() -> None:
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    erased = erase_square(images, torch.tensor([[0.5, 0.25]]), side=0.25)
    assert (erased == 128).sum() == 3 * 4 * 4
    assert (erased[0, :, 6:10, 2:6] == 128).all()
