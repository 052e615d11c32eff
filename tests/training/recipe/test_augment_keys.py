"""Settings of the augmentation that make no sense are refused by name."""

import pytest

from training.errors import RecipeError
from training.recipe.loading import parse_recipe


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mixup", -1, "augment.mixup"),
        ("random_erasing", 1.5, "augment.random_erasing"),
        ("random_erasing_fill", "black", "augment.random_erasing_fill"),
        ("mix_per", "pair", "augment.mix_per"),
        ("resized_crop", [1.0, 0.5], "augment.resized_crop: expected the smaller share first"),
        ("resized_crop", [0.0, 0.5], "augment.resized_crop"),
        ("policy", "rand", "augment.policy"),
        ("magnitude", 31, "augment.magnitude"),
        ("repeats", 0, "augment.repeats"),
        ("cut_mix", 1.0, "did you mean 'augment.cutmix'"),
    ],
)
def test_bad_settings_are_refused_by_name(key: str, value: object, message: str) -> None:
    values = {"data": {"root": "d"}, "model": {"name": "m"}, "output": "o", "epochs": 1, "augment": {key: value}}
    with pytest.raises(RecipeError, match=message):
        parse_recipe(values)
