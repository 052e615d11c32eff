"""Copies of validation images among the training images are found, exact ones and those saved anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.data import Preprocessing, check, decode
from training.data.duplicates import describe_duplicates, find_duplicates, signatures_of
from training.data.sources.folder import scan_folder

PREPROCESSING = Preprocessing((3, 32, 32), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")


def photo(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((60, 60), Image.Resampling.BICUBIC)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Ten training images; five for validation: 0 a copy, 1 saved as JPEG, 2 made smaller, the others new."""
    train, validation = tmp_path / "train", tmp_path / "val"
    for folder in (train, validation):
        (folder / "ant").mkdir(parents=True)
    for index in range(10):
        photo(index).save(train / "ant" / f"{index}.png")
    (validation / "ant" / "0.png").write_bytes((train / "ant" / "7.png").read_bytes())
    photo(3).save(validation / "ant" / "1.jpg", quality=80)
    photo(4).resize((40, 40)).save(validation / "ant" / "2.png")
    for index in (3, 4):
        photo(100 + index).save(validation / "ant" / f"{index}.png")
    return train, validation


@pytest.mark.parametrize("decoded", [True, False])
def test_copies_are_found_and_named(folders: tuple[Path, Path], decoded: bool, tmp_path: Path) -> None:
    for _ in range(2):  # the second time from what was kept
        train, validation = (
            decode(scan_folder(folder), PREPROCESSING, cache=tmp_path)[0]
            if decoded
            else check(scan_folder(folder), cache=tmp_path)
            for folder in folders
        )
        assert train.signatures is not None
        assert validation.signatures is not None
        found = find_duplicates(train.signatures, validation.signatures)
        assert (found.exact, found.near, found.partners, found.compared) == ((0,), (1, 2), (7, 3, 4), 5)
        line = describe_duplicates(found, train.names, validation.names)
        assert line is not None
        assert line.startswith("1 of 5 validation images are training images too, and 2 more nearly so:")
        assert "ant/0.png = ant/7.png" in line


def test_images_in_memory_are_compared_too() -> None:
    pixels = torch.from_numpy(np.stack([np.asarray(photo(index)) for index in range(6)])).permute(0, 3, 1, 2)
    found = find_duplicates(signatures_of(pixels[:4]), signatures_of(pixels[3:]))
    assert (found.exact, found.near, found.partners) == ((0,), (), (3,))


def test_flat_images_and_noise_are_no_near_copies() -> None:
    flat = torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 16, 16)
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (10, 3, 16, 16), dtype=np.uint8))
    for images in (flat, noise):
        found = find_duplicates(signatures_of(images[:5]), signatures_of(images[5:]))
        assert describe_duplicates(found, "abcde", "fghij") is None
