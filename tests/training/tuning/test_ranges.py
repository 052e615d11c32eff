"""Ranges are read as they are written, and refused with what is wrong with them."""

import pytest

from training.errors import RecipeError
from training.tuning.ranges import Choice, Interval, parse_ranges


def test_ranges_are_numbers_integers_or_values() -> None:
    assert parse_ranges(
        [
            "optimizer.lr=1e-5..1e-2:log",
            "batch_size=16..64",
            "augment.policy=none|randaugment",
            "label_smoothing=0..0.2",
        ]
    ) == (
        Interval("optimizer.lr", 1e-5, 1e-2, whole=False, log=True),
        Interval("batch_size", 16, 64, whole=True, log=False),
        Choice("augment.policy", ("none", "randaugment")),
        Interval("label_smoothing", 0, 0.2, whole=False, log=False),
    )
    (rate,) = parse_ranges(["lr=1e-5..1e-2:log"])
    assert rate.ends() == ("1e-05", "0.01")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "no --range"),
        (["lr"], "not of the form"),
        (["lr=0.1"], "no two different values"),
        (["lr=0.1|0.1"], "no two different values"),
        (["lr=2..1"], "the smaller one"),
        (["lr=0..1:log"], "above 0"),
        (["lr=1..2", "lr=3..4"], "given twice"),
    ],
)
def test_other_forms_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_ranges(texts)
