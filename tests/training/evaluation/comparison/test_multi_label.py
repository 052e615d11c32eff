"""Two models of classes that do not exclude each other: average precisions, and whether their difference is chance."""

import csv
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.comparison.multi_label import MultiLabelComparison, compare_answers
from training.evaluation.evaluate import TableAnswers
from training.evaluation.multi_label import measure_multi_label

CLASSES = ("red", "green", "blue")
HALVES = [[0.5] * 3] * 2


def answers(noise: float, images: int = 200, seed: int = 0) -> TableAnswers:
    generator = torch.Generator().manual_seed(1)
    targets = (torch.rand(images, 3, generator=generator) < 0.4).float()
    wrong = torch.randn(images, 3, generator=torch.Generator().manual_seed(seed + 100))
    return TableAnswers(targets - 0.5 + noise * wrong, targets, CLASSES, [f"{i}.png" for i in range(images)], "vit")


def compared(first: TableAnswers, second: TableAnswers) -> MultiLabelComparison:
    return compare_answers(first, second.logits, HALVES)


@settings(deadline=None, max_examples=20)
@given(images=st.integers(1, 30), seed=st.integers(0, 1000), levels=st.integers(1, 4))
def test_precisions_are_those_that_each_is_measured_by(images: int, seed: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randint(-levels, levels + 1, (images, 3), generator=generator).float() for _ in range(2)]  # ties
    targets = torch.randint(0, 2, (images, 3), generator=generator).float()
    if not targets.any():
        targets[0, 0] = 1
    first = TableAnswers(logits[0], targets, CLASSES, [str(each) for each in range(images)], "vit")
    result = compare_answers(first, logits[1], HALVES)
    for side, each in zip(("first", "second"), logits, strict=True):
        measured = measure_multi_label(each, targets, CLASSES)
        assert getattr(result.overall, side) == pytest.approx(measured.mean_average_precision, abs=1e-6)
        for name, figures in measured.per_class.items():
            if figures.average_precision is None:
                assert name not in result.per_class
            else:
                assert getattr(result.per_class[name], side) == pytest.approx(figures.average_precision, abs=1e-6)
    assert result.loss[0] == pytest.approx(measure_multi_label(logits[0], targets, CLASSES).loss)


def test_a_better_model_is_told_from_chance_and_an_equal_one_is_not() -> None:
    good, bad, as_bad = answers(0.5), answers(2.0, seed=1), answers(2.0, seed=2)
    better = compared(bad, good).overall
    assert better.interval is not None
    assert 0 < better.interval[0] < better.difference < better.interval[1]
    alike = compared(bad, as_bad).overall
    assert alike.interval is not None
    assert alike.interval[0] < 0 < alike.interval[1]
    same = compared(good, good)
    assert same.overall.interval == (0.0, 0.0)
    assert same.differing == []


def test_few_images_of_a_class_have_no_interval() -> None:
    first = answers(1.0)
    first.targets[:, 1] = 0
    first.targets[:3, 1] = 1
    result = compared(first, answers(1.0, seed=5))
    assert result.per_class["green"].images == 3
    assert result.per_class["green"].interval is None
    assert result.to_json()["per_class"]["green"]["interval"] is None
    assert result.overall.interval is not None
    first.targets.zero_()
    with pytest.raises(ValueError, match="no image has any class"):
        compared(first, first)


def test_the_interval_holds_what_it_should() -> None:
    # The law: noise of the same size on both sides, so that the true difference is 0.
    held = 0
    for seed in range(60):
        interval = compared(answers(1.5, 150, 2 * seed), answers(1.5, 150, 2 * seed + 1)).overall.interval
        assert interval is not None
        held += interval[0] <= 0 <= interval[1]
    assert held >= 51  # fewer are less likely than 1 in 1,000 where 57 are expected


def test_images_they_differ_on_are_written(tmp_path: Path) -> None:
    targets = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]])
    first = TableAnswers(2 * targets - 1, targets, CLASSES, ["a.png", "b.png", "c.png"], "vit")
    second = torch.tensor([[-1.0, -1, -1], [-1, 1, -1], [1, 1, 1]])
    result = compare_answers(first, second, [[0.5] * 3, [0.5, 0.9, 0.5]])
    result.write_differing(tmp_path / "differing.csv")
    rows = list(csv.DictReader((tmp_path / "differing.csv").open()))
    assert rows == [
        {
            "image": "a.png",
            "labels": "red|blue",
            "first": "red|blue",
            "first_mistakes": "0",
            "second": "",
            "second_mistakes": "2",
        },
        {
            "image": "c.png",
            "labels": "red|green|blue",
            "first": "red|green|blue",
            "first_mistakes": "0",
            "second": "red|blue",
            "second_mistakes": "1",
        },
    ]
