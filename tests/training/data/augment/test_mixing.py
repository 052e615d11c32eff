"""Mixup and cutmix mix pixels and targets alike."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.support.images.augmentation import CLASSES, PREPROCESSING, SIDE, some_batch
from training.data.augment.mixing import Mixing, partner_rows
from training.data.augment.rectangles import area, inside

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
