"""Figures of classes that do not exclude each other."""

import pytest
import torch

from training.evaluation.multi_label import fit_threshold, mean_average_precision, measure_multi_label

TARGETS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_answers_in_the_right_order_are_perfect_whatever_their_scale() -> None:
    logits = torch.tensor([[5.0, 0.1, 0], [4, 0.3, 0], [3, 0.2, 0], [2, 0.0, 0]])
    result = measure_multi_label(logits, TARGETS, ["a", "b", "never"])
    assert result.mean_average_precision == pytest.approx(1)
    assert result.per_class["a"].f1 == result.per_class["b"].f1 == 1
    assert result.thresholds["a"] == pytest.approx(float(torch.tensor(3.5).sigmoid()))
    never = result.per_class["never"]
    assert (never.images, never.average_precision, never.threshold, never.recall) == (0, None, 0.5, None)


def test_average_precision_is_the_textbooks() -> None:
    """Right answers at ranks 1 and 3 of four: (1/1 + 2/3) / 2."""
    logits = torch.tensor([[4.0], [3.0], [2.0], [1.0]])
    assert mean_average_precision(logits, torch.tensor([[1.0], [0], [1], [0]])) == pytest.approx((1 + 2 / 3) / 2)
    assert mean_average_precision(logits, torch.zeros(4, 1)) == 0
    assert mean_average_precision(logits * float("nan"), torch.ones(4, 1)) == 0


def test_thresholds_of_equal_logits_take_all_or_none() -> None:
    logits = torch.tensor([1.0, 1.0, 1.0, 0.0])
    threshold = fit_threshold(logits, torch.tensor([True, False, True, False]))
    assert threshold == pytest.approx(float(torch.tensor(0.5).sigmoid()))
    # All are found, where that is best, the lowest too.
    assert fit_threshold(logits, torch.ones(4, dtype=torch.bool)) < 0.5


def test_given_thresholds_are_kept() -> None:
    result = measure_multi_label(torch.zeros(4, 2), TARGETS[:, :2], ["a", "b"], {"a": 0.6})
    assert (result.per_class["a"].precision, result.per_class["a"].recall) == (None, 0)
    assert (result.per_class["b"].precision, result.per_class["b"].recall) == (0.5, 1)
    with pytest.raises(ValueError, match="do not fit"):
        measure_multi_label(torch.zeros(4, 2), TARGETS, ["a", "b", "c"])


def test_logits_are_ranked_where_probabilities_are_all_one() -> None:
    present = torch.arange(200) % 5 == 0
    logits = torch.where(present, 22.0, 18.0) + torch.linspace(0, 2, 200)
    assert mean_average_precision(logits[:, None], present[:, None].float()) == pytest.approx(1.0)
    assert mean_average_precision(-logits[:, None], present[:, None].float()) < 0.2
