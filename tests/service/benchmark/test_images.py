"""Images that requests carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from ait_lite.decode import ImageLimits, decode
from service.benchmark.images import PicturesError, make_pictures, read_pictures
from tests.support.service_images import encode, scene


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    for index in range(3):
        (folder / "deep" / f"{index}.jpg").write_bytes(encode(scene(40 + index, 30), "JPEG"))
    return folder


def test_pictures_are_spread_over_a_folder_and_checked(photos: Path, tmp_path: Path) -> None:
    assert len(read_pictures(photos)) == 3
    with pytest.raises(PicturesError, match=r"no \.jpg"):
        read_pictures(tmp_path)
    (tmp_path / "torn.jpg").write_bytes(encode(scene(), "JPEG")[:200])
    with pytest.raises(PicturesError, match=r"torn\.jpg.*Take it out"):
        read_pictures(tmp_path)


def test_made_pictures_are_all_different_and_of_the_size_asked_for() -> None:
    pictures = make_pictures(30, 20)
    assert len(set(pictures)) == len(pictures)
    assert {decode(each, ImageLimits()).size for each in pictures} == {(30, 20)}
    assert make_pictures(30, 20) == pictures
