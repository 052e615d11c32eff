"""What workers do to single images is a function of the image and a seed."""

import dataclasses
import pickle
from typing import Any

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from training.data import Preprocessing, create_image_transform
from training.data.augment.image_transform import ImageTransform
from training.errors import RecipeError
from training.recipe.keys import AugmentRecipe

PREPROCESSING = Preprocessing((3, 24, 20), "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 1.0, "center")
IMAGE = torch.randint(0, 256, (3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
RECIPES: list[dict[str, Any]] = [
    {"policy": "randaugment"},
    {"policy": "trivialaugment"},
    {"resized_crop": (0.3, 1.0)},
    {"resized_crop": (0.08, 0.5), "policy": "randaugment", "num_ops": 3, "magnitude": 15},
]


def make(**settings: Any) -> ImageTransform:
    transform = create_image_transform(AugmentRecipe(**settings), PREPROCESSING)
    assert transform is not None
    return transform


@pytest.mark.parametrize("settings", RECIPES)
def test_result_is_a_function_of_image_and_seed(settings: dict[str, Any]) -> None:
    transform = make(**settings)
    image = IMAGE.clone()
    results = {}
    for seed in (*range(8), 2**63 - 2):
        before = torch.get_rng_state()
        result = transform(image, seed)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(image, IMAGE)
        assert (result.shape, result.dtype) == (IMAGE.shape, torch.uint8)
        torch.rand(3)
        assert torch.equal(transform(image, seed), result)
        results[tuple(result.flatten().tolist())] = seed
    assert len(results) > 4


def test_sent_to_a_worker_it_does_the_same() -> None:
    transform = make(**RECIPES[-1])
    assert torch.equal(pickle.loads(pickle.dumps(transform))(IMAGE, 5), transform(IMAGE, 5))


def test_operations_are_torchvisions() -> None:
    ours = make(policy="randaugment", num_ops=3, magnitude=20)
    theirs = v2.RandAugment(3, 20, interpolation=InterpolationMode.BILINEAR, fill=[102, 128, 153])
    for seed in range(10):
        torch.manual_seed(seed)
        assert torch.equal(ours(IMAGE, seed), theirs(IMAGE))


def test_crops_are_resized_to_the_input_size() -> None:
    transform = make(resized_crop=(0.2, 0.4))
    larger = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8)
    assert transform(larger, 0).shape == (3, 24, 20)
    # A ramp of rows: a crop of at most 0.4 of the image sees part of it.
    ramp = torch.arange(24, dtype=torch.uint8)[None, :, None].expand(3, 24, 20)
    crop = transform(ramp, 0)
    assert int(crop.max()) - int(crop.min()) < 23


def test_every_filter_a_recipe_can_name_works() -> None:
    for name in ("nearest", "bilinear", "bicubic", "lanczos"):
        preprocessing = dataclasses.replace(PREPROCESSING, interpolation=name)
        transform = create_image_transform(AugmentRecipe(resized_crop=(0.5, 1.0)), preprocessing)
        assert transform is not None
        assert transform(IMAGE, 0).shape == IMAGE.shape


def test_switched_off_there_is_none() -> None:
    assert create_image_transform(AugmentRecipe(), PREPROCESSING) is None
    assert create_image_transform(AugmentRecipe(mixup=1.0, random_erasing=0.5), PREPROCESSING) is None


def test_policies_take_grey_images_and_refuse_other_channels() -> None:
    grey = dataclasses.replace(PREPROCESSING, input_size=(1, 24, 20), mean=(0.5,), std=(0.2,))
    recipe = AugmentRecipe(policy="trivialaugment")
    transform = create_image_transform(recipe, grey)
    assert transform is not None
    for seed in range(30):
        assert transform(IMAGE[:1], seed).shape == (1, 24, 20)
    four = dataclasses.replace(PREPROCESSING, input_size=(4, 24, 20), mean=(0.5,) * 4, std=(0.2,) * 4)
    with pytest.raises(RecipeError, match=r"takes 4; set augment\.policy=none"):
        create_image_transform(recipe, four)
