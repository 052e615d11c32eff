"""Triangle's labels are what its corners are, and its pixels lie where the corners are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import generate_triangles, open_evaluation, open_splits
from training.data.sources import triangle
from training.recipe.keys import DataRecipe


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 40))
def test_labels_follow_from_the_corners(seed: int, count: int) -> None:
    made = generate_triangles(count, seed)
    assert made.images.shape == (count, 1, 64, 64)
    assert made.images.dtype == torch.uint8
    assert made.labels.sum() == count // 2
    for label, corners in zip(made.labels.tolist(), made.corners.tolist(), strict=True):
        sides = [math.dist(corners[i], corners[(i + 1) % 3]) for i in range(3)]
        assert min(sides) >= 16
        if label:
            assert max(sides) - min(sides) < 1e-9
        else:
            assert max(sides) >= 1.25 * min(sides)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_pixels_lie_around_the_corners(seed: int) -> None:
    made = generate_triangles(6, seed)
    for image, corners in zip(made.images, made.corners, strict=True):
        rows, columns = torch.nonzero(image[0], as_tuple=True)
        assert set(image.unique().tolist()) == {0, 255}
        points = torch.stack([columns, rows], dim=1).double()
        distance, nearest = torch.cdist(points, corners).min(dim=1)
        assert distance.max() < 8
        for corner in range(3):
            cluster = points[nearest == corner]
            assert len(cluster) >= 3
            # Points that fall onto one pixel move the centre of the pixels a little.
            assert (cluster.mean(dim=0) - corners[corner]).abs().max() < 2


def test_images_are_a_function_of_seed_and_split() -> None:
    made, again = generate_triangles(20, seed=3), generate_triangles(20, seed=3)
    assert torch.equal(made.images, again.images)
    assert torch.equal(made.labels, again.labels)
    for other in (generate_triangles(20, seed=4), generate_triangles(20, seed=3, split="val")):
        assert not torch.equal(made.images, other.images)


def test_a_recipe_gets_the_two_splits_whatever_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triangle, "TRAINING_IMAGES", 30)
    monkeypatch.setattr(triangle, "VALIDATION_IMAGES", 10)
    train, validation = open_splits(DataRecipe(source="triangle"), seed=5)
    assert (len(train), len(validation)) == (30, 10)
    assert train.classes == ("other", "equilateral")
    assert train.pixels is not None
    assert torch.equal(train.pixels, generate_triangles(30, seed=0).images)
    train, validation = open_splits(DataRecipe(source="triangle", validation_fraction=0.2), seed=5)
    assert (len(train), len(validation)) == (24, 6)
    assert open_evaluation("triangle", None).names == tuple(f"val/{index:05d}" for index in range(10))
