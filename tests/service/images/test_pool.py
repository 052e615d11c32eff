"""Images are decoded within the memory that there is."""

from __future__ import annotations

import asyncio
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from ait_lite.images.errors import TooManyPixels
from ait_lite.images.limits import ImageLimits
from service.errors import ImageRejected, QueueFull
from service.images.memory import BYTES_PER_PIXEL, PixelBudget
from service.images.pool import Decoders
from service.images.upload import Upload
from tests.support.images.service_images import FORMATS, encode, scene

SIDE = 100


def upload(form: str = "PNG") -> Upload:
    return Upload(encode(scene(SIDE, SIDE), form))


def prepare(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[:1, :1]


def decode(budget: PixelBudget, *uploads: Upload) -> int:
    with closing(Decoders(4, ImageLimits(), 16, budget)) as decoders:
        return len(asyncio.run(decoders.prepare(uploads, prepare)).inputs)


def budget_for(images: float) -> PixelBudget:
    return PixelBudget(int(images * SIDE * SIDE * BYTES_PER_PIXEL))


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_waits_for_memory_that_others_hold(form: str) -> None:
    budget = budget_for(1.5)
    with budget.room(SIDE * SIDE), pytest.raises(QueueFull):
        decode(budget, upload(form))
    assert decode(budget, upload(form)) == 1
    assert budget.taken == 0


def test_memory_is_held_until_the_image_has_been_prepared() -> None:
    budget = budget_for(1)
    taken = []

    def look(image: Image.Image) -> np.ndarray:
        taken.append(budget.taken)
        return prepare(image)

    with closing(Decoders(1, ImageLimits(), 16, budget)) as decoders:
        asyncio.run(decoders.prepare([upload()], look))
    assert taken == [budget.total]


def test_the_images_of_one_request_do_not_keep_each_other_out() -> None:
    assert decode(budget_for(1), *(upload() for _ in range(6))) == 6


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_that_never_fits_is_told_the_memory(form: str) -> None:
    with pytest.raises(ImageRejected, match="MB of memory") as caught:
        decode(budget_for(0.9), upload(form))
    assert isinstance(caught.value.error, TooManyPixels)
