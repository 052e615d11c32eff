"""The lines of Python that the README shows do what it says."""

from pathlib import Path

import ait


def test_load_and_predict(photos: Path) -> None:
    model = ait.load("ait_tiny_patch4_32.cifar10")
    assert model.predict(photos / "cat" / "0.png", top_k=3)
