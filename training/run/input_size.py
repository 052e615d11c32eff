"""Choose the size at which a model sees the images, where it takes any."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch
from rich.console import Console
from torch import nn

from training.data import LabelledImages, Preprocessing, decode
from training.errors import RecipeError
from training.model.ridge_head import linear_head, solve_head
from training.model.start import find_start
from training.recipe.keys import Recipe
from training.run.head import Features
from training.seeds import stream

_SHARES: Final = (5 / 7, 4 / 7)  # of the model's own size, which is tried too; of 224 pixels 160 and 128
_STEP: Final = 32  # pixels: convolutional models halve their input five times
_JUDGES: Final = 1000  # images
# By so large a share the error may exceed the least: a sample of images tells no finer, and a smaller size is faster.
_TOLERANCE: Final = 0.02


def choose_preprocessing(
    recipe: Recipe, model: nn.Module, training: LabelledImages, device: torch.device, console: Console, taken: int = 0
) -> Preprocessing:
    """Say what images go through before a model.

    Args:
        recipe: Reads the section `data`, and whether a head is solved for.
        model: The model; moved to `device` if sizes are compared.
        training: The images to learn from; at most a thousand of them judge between sizes.
        device: Where to compute.
        console: Where progress goes.
        taken: The size that a run which is continued has chosen; 0 for one that begins.

    Raises:
        RecipeError: The model does not take images of the size asked for.
        DataError: Images cannot be decoded.
        OutputError: The cache folder cannot be written to.
    """
    data = recipe.data
    own = Preprocessing.of_model(
        model,
        mean=data.mean,
        std=data.std,
        interpolation=data.interpolation,
        crop_pct=data.crop_pct,
        crop_mode=data.crop_mode,
    )
    sized = partial(_at, own)
    if data.img_size is None:
        return own
    if taken:
        return sized(taken)
    config: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    fixed = bool(config.get("fixed_input_size", False))
    if data.img_size != "auto":
        if fixed and own.input_size[1:] != (data.img_size, data.img_size):
            raise RecipeError(
                f"data.img_size={data.img_size}: {recipe.model.name} takes images of "
                f"{own.input_size[1]} x {own.input_size[2]} pixels alone; make it for others with "
                f"model.args={{img_size: {data.img_size}}}, or leave data.img_size out"
            )
        return sized(data.img_size)
    height, width = own.input_size[1:]
    solved = recipe.method == "closed_form" or recipe.head_first
    if fixed or not solved or height != width:
        return own
    sizes = sorted({height, *(round(share * height / _STEP) * _STEP for share in _SHARES)} - {0}, reverse=True)
    best = _best(recipe, model.to(device), {size: sized(size) for size in sizes}, training, device, console)
    return sized(best)


def _best(
    recipe: Recipe,
    model: nn.Module,
    sized: Mapping[int, Preprocessing],
    training: LabelledImages,
    device: torch.device,
    console: Console,
) -> int:
    """Choose a size by the error of a head in closed form on images that are left out."""
    linear_head(model)
    data, folder = recipe.data, find_start(recipe.model).folder
    order = torch.randperm(len(training), generator=stream(recipe.seed, 0, "size"))
    sample = training.select(sorted(order[:_JUDGES].tolist()))
    errors: dict[int, float] = {}
    rates = []
    for size, preprocessing in sized.items():
        known, images = decode(sample, preprocessing, broken=data.broken, cache=data.cache, console=console)
        features = Features(model, preprocessing, device, data.cache, console, folder, recipe.model.args)
        read = features(images.__getitem__, len(known), f"features at {size} pixels")
        head = solve_head(read, known.labels, len(training.classes), recipe.seed)
        errors[size] = head.error(known.labels)
        rates.append(f"{head.accuracy(known.labels):.1%} at {size}")
    best = smallest_as_good(errors)
    console.print(
        f"images of {best} x {best} pixels: the smallest at which the error of a head in closed form, on images that "
        f"are left out, is at most {_TOLERANCE:.0%} above the least (right: {', '.join(rates)}; data.img_size sets "
        "another)",
        soft_wrap=True,
        highlight=False,
    )
    return best


def smallest_as_good(errors: Mapping[int, float]) -> int:
    """Choose the smallest size whose error is at most the tolerance above the least."""
    return min(size for size, error in errors.items() if error <= (1 + _TOLERANCE) * min(errors.values()))


def _at(own: Preprocessing, size: int) -> Preprocessing:
    return replace(own, input_size=(own.input_size[0], size, size))
