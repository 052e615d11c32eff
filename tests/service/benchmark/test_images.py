"""Images that requests carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from service.benchmark.images import ImagesError, make_images, read_images
from tests.support.service_images import encode, scene


def test_images_are_spread_over_a_folder_and_checked(photos: Path, tmp_path: Path) -> None:
    assert len(read_images(photos)) == 3
    with pytest.raises(ImagesError, match=r"no \.jpg"):
        read_images(tmp_path)
    (tmp_path / "torn.jpg").write_bytes(encode(scene(), "JPEG")[:200])
    with pytest.raises(ImagesError, match=r"torn\.jpg.*Take it out"):
        read_images(tmp_path)


def test_made_images_are_all_different_and_of_the_size_asked_for() -> None:
    images = make_images(30, 20)
    assert len(set(images)) == len(images)
    assert {decode(each, ImageLimits()).size for each in images} == {(30, 20)}
    assert make_images(30, 20) == images
