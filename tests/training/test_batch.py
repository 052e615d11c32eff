"""Batches are augmented, erased and mixed as drawn, by one process or several."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from training.data import BatchTransform, Preprocessing
from training.data.augment.erasing import RandomErasing
from training.data.augment.mixing import Mixing, partner_rows
from training.data.augment.rectangles import area, inside
from training.errors import RecipeError
from training.recipe.keys import AugmentRecipe
from training.recipe.loading import parse_recipe
from training.seeds import stream

SIDE = 12
CLASSES = 5
PREPROCESSING = Preprocessing((3, SIDE, SIDE), "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 1.0, "center")
EVERYTHING = AugmentRecipe(
    crop_padding=3, brightness=0.2, contrast=0.2, saturation=0.2, erase=0.2,
    random_erasing=0.5, random_erasing_fill="noise", mixup=0.8, cutmix=1.0, mix_per="image",
)  # fmt: skip


def some_batch(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, CLASSES, (count,), generator=generator)


def transform_all(transform: BatchTransform, images: Tensor, labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = transform.sample(len(images), stream(seed, 0, "augmentation"))
    return transform.apply(images, labels, draws, transform.share(len(images), torch.arange(len(images))))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_rectangles_hold_their_area(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    top, left = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    bottom, right = data.draw(st.integers(top, height)), data.draw(st.integers(left, width))
    boxes = torch.tensor([[top, bottom, left, right]])
    expected = torch.zeros(1, 1, height, width, dtype=torch.bool)
    expected[:, :, top:bottom, left:right] = True
    assert torch.equal(inside(boxes, height, width), expected)
    assert area(boxes).item() == expected.sum()


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


mixings = st.builds(
    Mixing,
    mixup=st.sampled_from([0.0, 0.2, 1.0]),
    cutmix=st.sampled_from([0.3, 1.0]),
    per_image=st.booleans(),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    num_classes=st.just(CLASSES),
) | st.builds(
    Mixing,
    mixup=st.sampled_from([0.1, 0.8, 4.0]),
    cutmix=st.just(0.0),
    per_image=st.booleans(),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    num_classes=st.just(CLASSES),
)


@given(mixing=mixings, count=st.integers(1, 12), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_targets_are_convex_and_match_the_pixels(mixing: Mixing, count: int, seed: int) -> None:
    draws = mixing.sample(count, torch.Generator().manual_seed(seed))
    shape = (count, 2, *mixing.size)
    kept = mixing.apply(torch.ones(shape), torch.zeros(shape), draws)
    assert kept.min() >= 0
    assert kept.max() <= 1
    torch.testing.assert_close(kept.mean(dim=(1, 2, 3)), draws.weight)
    labels, partners = torch.arange(count) % CLASSES, (torch.arange(count) + 1) % CLASSES
    targets = mixing.targets(labels, partners, draws)
    assert (targets >= 0).all()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(count))
    torch.testing.assert_close(targets.gather(1, labels[:, None])[:, 0], draws.weight)
    if not mixing.per_image:
        assert (draws.weight == draws.weight[0]).all()
    for image, box, blend in zip(kept, draws.box, draws.blend, strict=True):
        # Either a box of the partner's pixels in an image left alone, or one weight for all pixels.
        if blend == 1:
            assert torch.equal(image[0] == 0, inside(box[None], *mixing.size)[0, 0])
            assert ((image == 0) | (image == 1)).all()
        else:
            assert area(box[None]).item() == 0
            torch.testing.assert_close(image, blend.expand_as(image))


def test_an_image_mixed_with_itself_stays() -> None:
    images, labels = some_batch(6)
    mixing = Mixing(0.8, 1.0, True, (SIDE, SIDE), CLASSES)
    draws = mixing.sample(6, torch.Generator().manual_seed(0))
    inputs = PREPROCESSING.normalise(images)
    assert torch.equal(mixing.apply(inputs, inputs, draws), inputs)
    assert torch.equal(mixing.targets(labels, labels, draws), F.one_hot(labels, CLASSES).float())


def test_weights_follow_the_beta_distribution_and_both_kinds_come() -> None:
    alpha = 0.4
    draws = Mixing(alpha, alpha, True, (64, 64), CLASSES).sample(8000, torch.Generator().manual_seed(0))
    cut = area(draws.box) > 0
    # Cutmix with a weight of almost 1 cuts nothing.
    assert cut.float().mean().item() == pytest.approx(0.5, abs=0.07)
    blends = draws.blend[draws.blend < 1]
    assert blends.mean().item() == pytest.approx(0.5, abs=0.03)
    assert blends.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


def test_once_a_batch_all_images_share_what_is_drawn_and_batches_differ() -> None:
    mixing = Mixing(0.4, 0.4, False, (64, 64), CLASSES)
    generator = torch.Generator().manual_seed(0)
    draws = [mixing.sample(3, generator) for _ in range(40)]
    assert all((draw.weight == draw.weight[0]).all() and (draw.box == draw.box[0]).all() for draw in draws)
    assert len({draw.weight[0].item() for draw in draws}) > 30
    kinds = [area(draw.box)[0].item() > 0 for draw in draws]
    assert 8 < sum(kinds) < 32


@given(count=st.integers(1, 64))
@settings(deadline=None)
def test_partners_are_a_permutation_without_fixed_points(count: int) -> None:
    partners = partner_rows(count, torch.arange(count))
    assert partners.sort().values.tolist() == list(range(count))
    assert count == 1 or (partners != torch.arange(count)).all()


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
