"""Sections of a recipe hold the keys of the recipe."""

from collections.abc import Callable
from dataclasses import fields

from training.recipe.keys import Recipe, UpdateSettings


def test_the_settings_of_an_update_are_the_recipes_keys(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(clip_grad=0.5, accumulate=3, loss="bce")
    assert (recipe.update.clip_grad, recipe.update.accumulate, recipe.update.loss) == (0.5, 3, "bce")
    for field in fields(UpdateSettings):
        assert getattr(recipe.update, field.name) == getattr(recipe, field.name)
