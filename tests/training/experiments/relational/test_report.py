"""What is told of trials on Sort-of-CLEVR can be computed from what they answered."""

from typing import Any

import pytest

from training.data.sources.sort_of_clevr import TEST_IMAGES
from training.experiments.relational.report import differences


def answered(label: str, seed: int = 0, **right: str) -> dict[str, Any]:
    return {"settings": {"label": label, "seed": seed}, "right": {on: {"binary": told} for on, told in right.items()}}


def test_models_are_compared_with_the_first_of_their_seed_and_with_themselves_disturbed() -> None:
    half, whole = TEST_IMAGES // 2, "11" * TEST_IMAGES
    ait = answered("AiT", on="11" * half + "00" * half, off="10" * TEST_IMAGES)
    untold = {"settings": {"label": "former", "seed": 0}}
    disturbed, beside = differences([ait, untold, answered("ViT", on=whole), answered("ViT", 1, on=whole)])
    assert (disturbed["model"], disturbed["other"], disturbed["seed"]) == ("AiT", "AiT, retrieval off", 0)
    assert disturbed["by_kind"]["binary"]["mean"] == pytest.approx(0)
    assert (beside["model"], beside["other"]) == ("AiT", "ViT")
    assert beside["by_kind"]["binary"]["mean"] == pytest.approx(-0.5)
    # The two questions about an image are answered alike: there are no more than as many independent ones as images.
    assert beside["by_kind"]["binary"]["interval"] == pytest.approx(1.96 * 0.5 / TEST_IMAGES**0.5, rel=0.01)
