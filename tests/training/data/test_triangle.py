"""Triangle's labels are what its corners are, and its pixels lie where the corners are."""

import math

import numpy as np
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


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 40))
def test_faithful_labels_follow_from_the_corners(seed: int, count: int) -> None:
    made = generate_triangles(count, seed, faithful=True)
    assert made.labels.sum() == count // 2
    for label, corners in zip(made.labels.tolist(), made.corners.tolist(), strict=True):
        assert all(1 <= value <= 63 and value == int(value) for corner in corners for value in corner)
        (x1, y1), (x2, y2), third = corners
        sine, cosine = math.sin(math.pi / 3), math.cos(math.pi / 3)
        apexes = [
            [
                math.trunc(round(x1 + cosine * (x2 - x1) + turn * sine * (y2 - y1), 9)),
                math.trunc(round(y1 - turn * sine * (x2 - x1) + cosine * (y2 - y1), 9)),
            ]
            for turn in (1, -1)
        ]
        assert third == apexes[0] if label else third not in apexes


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_faithful_clusters_are_discs_in_mirrored_pairs(seed: int) -> None:
    made = generate_triangles(6, seed, faithful=True)
    assert made.images.shape == (6, 1, 64, 64)
    for image, corners in zip(made.images[:, 0], made.corners.tolist(), strict=True):
        assert set(image.unique().tolist()) == {0, 255}
        clusters = [{(int(x) + dx, int(y) + dy) for dx in range(-3, 4) for dy in range(-3, 4)} for x, y in corners]
        lit = {(int(x), int(y)) for y, x in image.nonzero().tolist()}
        assert lit <= set().union(*clusters)
        # Every disc of a cluster holds its corner.
        assert all(image[int(y), int(x)] == 255 for x, y in corners)
        for (x, y), cluster in zip(corners, clusters, strict=True):
            if all(not cluster & other for other in clusters if other is not cluster):
                mirrored = {(2 * int(x) - u, 2 * int(y) - v) for u, v in lit & cluster}
                assert {(u, v) for u, v in mirrored if 0 <= u < 64 and 0 <= v < 64} <= lit


def test_faithful_discs_have_radius_two() -> None:
    centres = np.array([[[10, 20], [12, 21]], [[0, 64], [63, 1]]])
    for image, points in zip(triangle.draw_discs(centres)[:, 0], centres.tolist(), strict=True):
        for row in range(64):
            for column in range(64):
                lit = any(math.dist(point, (column, row)) <= 2 for point in points)
                assert image[row, column] == (255 if lit else 0)


def test_a_recipe_gets_the_published_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triangle, "TRAINING_IMAGES", 30)
    monkeypatch.setattr(triangle, "VALIDATION_IMAGES", 10)
    train, validation = open_splits(DataRecipe(source="triangle_faithful"), seed=5)
    assert (len(train), len(validation)) == (30, 10)
    assert train.pixels is not None
    assert torch.equal(train.pixels, generate_triangles(30, seed=0, faithful=True).images)
