"""How priors' gates are compared over epochs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.experiments.blocks import write_maps
from training.experiments.blocks.write_maps import overlap, train_and_look


def test_overlap_tells_priors_that_read_alike() -> None:
    assert overlap(torch.ones(3, 2, 4)) == pytest.approx(1)
    assert overlap(torch.eye(4).unflatten(1, (2, 2))) == pytest.approx(0)


def test_gates_are_kept_after_the_epochs_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(128, 3, 8, 8, generator=generator)
    labels = torch.arange(128) % 2
    found = train_and_look("published", images, labels, images[:4], 2, (0, 2), seed=0)
    assert list(found) == [0, 2]
    assert found[0].shape == (2, 16, 4, 64)
    assert not torch.equal(found[0], found[2])


def test_both_memories_stand_in_a_table_by_epoch(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, each in (("train", 33), ("test", 2)):
        for name in "abcd":
            folder = tmp_path / "noise" / split / name
            folder.mkdir(parents=True)
            for number in range(each):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    outcome = write_maps.run(data=tmp_path / "noise")
    found = outcome.figures["overlap of two priors"]
    assert {memory: list(each) for memory, each in found.items()} == {
        "published": ["0", "1", "2", "6"],
        "orthogonal": ["0", "1", "2", "6"],
    }
    assert outcome.checks[0].passed  # the shares of each prior's gates sum to one
    assert "of images of noise, 200 a class" in outcome.markdown
    cells = " | ".join(f"{value:.2f}" for value in found["published"].values())
    assert f"| published | {cells} |" in outcome.markdown
