"""Images that requests carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from service.benchmark.images import MOST, ImagesError, make_images, other_images, read_images
from tests.support.images.service_images import encode, scene


def test_images_are_spread_over_a_folder_and_checked(photos: Path, tmp_path: Path) -> None:
    assert len(read_images(photos)) == 3
    with pytest.raises(ImagesError, match=r"no \.jpg"):
        read_images(tmp_path)
    (tmp_path / "torn.jpg").write_bytes(encode(scene(), "JPEG")[:200])
    with pytest.raises(ImagesError, match=r"torn\.jpg.*Take it out"):
        read_images(tmp_path)


def test_other_images_are_not_those_that_are_sent(tmp_path: Path) -> None:
    for number in range(MOST + 40):
        (tmp_path / f"{number:04}.jpg").write_bytes(encode(scene(8 + number % 64, 8 + number // 64), "JPEG"))
    sent = set(read_images(tmp_path))
    others = [file.read_bytes() for file in other_images(tmp_path, 100)]
    assert (len(sent), len(others)) == (MOST, 40)
    assert not sent & set(others)
    assert len(other_images(tmp_path, 7)) == 7


def test_made_images_are_all_different_and_of_the_size_asked_for() -> None:
    images = make_images(30, 20)
    assert len(set(images)) == len(images)
    assert {decode(each, ImageLimits()).size for each in images} == {(30, 20)}
    assert make_images(30, 20) == images
