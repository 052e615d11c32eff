"""Which files below a folder are images, and how one is read."""

import os
from pathlib import Path

import numpy as np
import pytest

from ait_lite.images.errors import UndecodableImage, UnsupportedFormat
from ait_lite.images.files import describe_others, is_hidden, list_images, read_image, visible_folders
from tests.support.images.service_images import scene


def test_images_are_listed_at_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.PNG", "a/deep/1.gif", "a b/0.jpe", "top.jpg", ".hidden/x.png", "b/@eaDir/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    found = list_images(tmp_path)
    assert found.images == ("a/deep/1.gif", "a b/0.jpe", "b/10.PNG", "b/2.png", "top.jpg")
    assert found.others == {".txt": 1, "no file": 1}
    assert visible_folders(tmp_path) == ["a", "a b", "b"]
    with pytest.raises(FileNotFoundError):
        list_images(tmp_path / "nowhere")


def test_what_systems_add_is_hidden() -> None:
    assert all(map(is_hidden, (".git", "._x.jpg", "Thumbs.db", "@eaDir", "__MACOSX", "Desktop.ini")))
    assert not is_hidden("thumbs.png")


def test_photographs_of_telephones_are_told_how_to_be_read(tmp_path: Path) -> None:
    for name in ("1.HEIC", "2.heic", "3.heif"):
        (tmp_path / name).touch()
    lines = describe_others(tmp_path, list_images(tmp_path).others, [])
    assert any("2 .heic: HEIC photographs are not read: convert them to JPEG" in line for line in lines)


def test_every_readable_format_is_read(tmp_path: Path) -> None:
    for ending in ("png", "bmp", "tif", "ppm"):
        scene().save(tmp_path / f"x.{ending}")
        assert np.array_equal(np.asarray(read_image(tmp_path / f"x.{ending}")), np.asarray(scene()))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UnsupportedFormat):
        read_image(tmp_path / "text.png")
    (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    with pytest.raises(UnsupportedFormat, match="HEIC photographs are not read: convert them to JPEG"):
        read_image(tmp_path / "photo.jpg")
    (tmp_path / "torn.png").write_bytes((tmp_path / "x.png").read_bytes()[:-40])
    with pytest.raises(UndecodableImage):
        read_image(tmp_path / "torn.png")
