"""Readouts and a probe are measured on the same draws; classes that were not taught are told apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ait_lite.class_memory import READOUTS
from tests.support.images.training_images import write_images
from tests.support.models.small_checkpoints import save_small_checkpoint
from training.benchmark.linear_probe import linear_probe
from training.benchmark.memory_accuracy import Draw, draw_features, measure_accuracy, measure_unknown
from training.errors import DataError

CLASSES, WIDTH = 6, 32


def draw(seed: int, spread: float, per_class: int = 60, asked: int = 200) -> Draw:
    """Gaussian classes around random centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((CLASSES, WIDTH))
    labels = np.arange(CLASSES * asked) % CLASSES
    examples = centres[:, None] + spread * random.standard_normal((CLASSES, per_class, WIDTH))
    return Draw(examples, centres[labels] + spread * random.standard_normal((len(labels), WIDTH)), labels)


def test_more_examples_are_no_worse_and_ridge_is_level_with_the_probe() -> None:
    few, many = measure_accuracy([draw(seed, 2.0) for seed in range(3)], (1, 60))
    assert (few.per_class, many.per_class, many.images, many.draws) == (1, 60, CLASSES * 200, 3)
    for readout in READOUTS:
        assert many.accuracy[readout] > few.accuracy[readout] > 1 / CLASSES
        assert few.deviation is not None
        assert 0 < few.deviation[readout] < 0.2
    assert many.accuracy["ridge"] > many.accuracy["linear probe"] - 0.03


def test_one_draw_has_no_deviation() -> None:
    (found,) = measure_accuracy([draw(0, 2.0)], (5,))
    unknown = measure_unknown([draw(0, 2.0)], 5)
    assert unknown is not None
    assert (found.draws, found.deviation, unknown.draws, unknown.deviation) == (1, None, 1, None)


def test_what_a_memory_was_taught_is_called_unknown_as_often_as_was_agreed() -> None:
    found = measure_unknown([draw(seed, 0.7) for seed in range(4)], 60, level=0.05)
    assert found is not None
    assert (found.held_out, found.per_class, found.draws, found.images) == (1, 60, 4, 800)
    assert found.figures["taught called unknown"] == pytest.approx(0.05, abs=0.02)
    assert found.figures["held out called unknown"] > 0.5
    assert found.figures["AUROC, p-value"] > 0.9
    assert 0.5 < found.figures["AUROC, max softmax"] <= 1
    assert found.deviation is not None
    assert found.deviation.keys() == found.figures.keys()


def test_classes_that_look_alike_are_not_told_apart() -> None:
    """The figures are of what was measured: where all classes are one, nothing is unknown."""
    found = measure_unknown([draw(seed, 200.0) for seed in range(4)], 60)
    assert found is not None
    assert found.figures["AUROC, p-value"] == pytest.approx(0.5, abs=0.05)
    assert found.figures["held out called unknown"] == pytest.approx(found.figures["taught called unknown"], abs=0.04)


def test_there_are_no_figures_without_classes_to_hold_out_or_images_of_them() -> None:
    assert measure_unknown([draw(0, 1.0).of([0, 3])], 10) is None
    whole = draw(0, 1.0)
    assert measure_unknown([Draw(whole.examples, whole.queries[:0], whole.labels[:0])], 10) is None


def test_some_classes_of_a_draw_are_numbered_anew() -> None:
    whole = draw(0, 1.0)
    part = whole.of([1, 4])
    assert np.array_equal(part.examples, whole.examples[[1, 4]])
    assert np.array_equal(part.queries, whole.queries[(whole.labels == 1) | (whole.labels == 4)])
    assert set(part.labels.tolist()) == {0, 1}
    assert part.teach(5).counts == {"0": 5, "1": 5}


def test_a_probe_gives_a_logit_per_class() -> None:
    each = draw(0, 0.5)
    labels = torch.arange(CLASSES).repeat_interleave(20)
    examples = torch.from_numpy(each.examples[:, :20].reshape(-1, WIDTH)).float()
    logits = linear_probe(examples, labels, torch.from_numpy(each.queries).float())
    assert logits.shape == (len(each.queries), CLASSES)
    assert (logits.argmax(1).numpy() == each.labels).mean() > 0.95


def test_draws_differ_and_every_image_is_run_once(tmp_path: Path) -> None:
    checkpoint, data = save_small_checkpoint(tmp_path / "checkpoint"), tmp_path / "data"
    write_images(data / "train", 8, seed=3)
    write_images(data / "test", 4, seed=4)
    seen: list[tuple[int, int]] = []
    drawn = draw_features(checkpoint, data, 4, draws=6, progress=lambda *done: seen.append(done))
    examples, queries = drawn[0].examples, drawn[0].queries
    assert len({each.examples.tobytes() for each in drawn}) == 6
    assert seen[-1][0] == seen[-1][1] <= len(examples) * 8 + len(queries)  # though more are drawn in all
    assert all(np.array_equal(each.queries, queries) for each in drawn)
    with pytest.raises(DataError, match="fewer than 50"):
        draw_features(checkpoint, data, 50)
