"""Folders as they really are: what is no data, what cannot be told apart, and names that file systems allow."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tests.support.images.service_images import scene
from training.data import Preprocessing, decode, open_evaluation, open_splits, open_training
from training.data.sources.folder import scan_folder
from training.errors import DataError
from training.recipe.keys import DataRecipe

PREPROCESSING = Preprocessing((3, 16, 16), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")


def fill(folder: Path, *classes: str, count: int = 3) -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            scene(20 + index, 16).save(folder / name / f"{index}.png")


def test_hidden_and_system_entries_are_no_data(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    for name in ("cat", "dog"):
        for inner in (".ipynb_checkpoints", "@eaDir", ".thumbnails", "__MACOSX"):
            shutil.copytree(tmp_path / name, tmp_path / name / "deep" / inner, ignore=lambda *_: ["deep"])
        (tmp_path / name / "._0.png").write_bytes(bytes(64))
        (tmp_path / name / "Thumbs.db").write_bytes(bytes(64))
        (tmp_path / name / "desktop.ini").write_bytes(bytes(64))
    for top in ("__MACOSX", "@eaDir", ".cache"):
        shutil.copytree(tmp_path / "cat", tmp_path / top / "cat")
    samples = scan_folder(tmp_path)
    assert samples.classes == ("cat", "dog")
    assert len(samples) == 6
    assert samples.remarks == ()


@pytest.mark.parametrize("names", [("bus", "train"), ("valid", "invalid"), ("test", "other"), ("test", "train")])
def test_classes_may_be_called_like_splits(names: tuple[str, str], tmp_path: Path) -> None:
    fill(tmp_path, *names, count=6)
    train, validation = open_splits(DataRecipe(root=tmp_path), seed=0)
    assert train.classes == validation.classes == tuple(sorted(names))
    assert len(open_evaluation("folder", tmp_path)) == len(open_training("folder", tmp_path)) == 12
    listed = tmp_path / "validation.txt"
    listed.write_text("".join(f"{name}\n" for name in validation.names))
    assert open_evaluation("folder", tmp_path, listed).names == validation.names
    assert set(open_training("folder", tmp_path, listed).names) == set(train.names)


def test_splits_are_found_in_any_case(tmp_path: Path) -> None:
    fill(tmp_path / "Train", "cat", "dog")
    fill(tmp_path / "VAL", "cat", "dog", count=2)
    train, validation = open_splits(DataRecipe(root=tmp_path), seed=0)
    assert (train.origin.name, len(train), validation.origin.name, len(validation)) == ("Train", 6, "VAL", 4)


def test_where_splits_and_classes_cannot_be_told_apart_a_key_says(tmp_path: Path) -> None:
    fill(tmp_path / "train", "cat", "dog")
    fill(tmp_path, "annotations", count=1)
    with pytest.raises(DataError, match=r"beside it is annotations.*data\.layout=splits"):
        open_splits(DataRecipe(root=tmp_path), seed=0)
    assert open_splits(DataRecipe(root=tmp_path, layout="splits"), seed=0)[0].classes == ("cat", "dog")
    assert open_evaluation("folder", tmp_path, layout="splits").classes == ("cat", "dog")
    shutil.rmtree(tmp_path / "annotations")
    fill(tmp_path, "bus")
    assert open_splits(DataRecipe(root=tmp_path, layout="classes"), seed=0)[0].classes == ("bus", "train")


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "cat")
    with pytest.raises(DataError, match="a single class, 'cat'"):
        open_splits(DataRecipe(root=tmp_path), seed=0)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_wrapping_folder_is_named(depth: int, tmp_path: Path) -> None:
    inner = tmp_path.joinpath(*["photos"] * depth)
    fill(inner, "cat", "dog")
    for open_ in (lambda: open_splits(DataRecipe(root=tmp_path), seed=0), lambda: open_evaluation("folder", tmp_path)):
        with pytest.raises(DataError, match=f"lie in {inner}: name that folder"):
            open_()


def test_endings_are_read_or_counted(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    for name in ("a.jfif", "b.jpe"):
        scene().save(tmp_path / "cat" / name, "JPEG")
    for name in ("c.gif", "d.BMP", "e.tif", "f.avif"):
        scene().save(tmp_path / "cat" / name)
    for name in ("g.heic", "h.heic", "notes.txt"):
        (tmp_path / "dog" / name).write_bytes(b"something")
    console = Console(record=True, width=300, file=io.StringIO())
    samples, _ = decode(scan_folder(tmp_path), PREPROCESSING, cache=tmp_path / ".cache", console=console)
    assert len(samples) == 12
    shown = console.export_text()
    assert "3 files are not read as images (2 .heic, 1 .txt)" in shown
    assert "2 .heic: HEIC photographs are not read: convert them to JPEG first" in shown
    assert "4 of 12 images are used though a service would refuse them: cat/c.gif: This is not a JPEG" in shown


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "more")
    fill(tmp_path / "data", "cat", "dog")
    (tmp_path / "data" / "cat" / "a-link").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "data" / "cat" / "same").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "data" / "cat" / "self").symlink_to(tmp_path / "data" / "cat")
    (tmp_path / "data" / "cat" / "above").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "cat" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    samples = scan_folder(tmp_path / "data")
    assert [name for name in samples.names if "link" in name] == [f"cat/a-link/{index}.png" for index in range(3)]
    assert len(samples) == 9
    assert any("3 linked folders" in remark for remark in samples.remarks)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    os.mkfifo(tmp_path / "cat" / "x.jpg")
    samples, _ = decode(scan_folder(tmp_path), PREPROCESSING, cache=tmp_path / ".cache")
    assert len(samples) == 6


def test_odd_names_are_read_and_survive_lists(tmp_path: Path) -> None:
    root = tmp_path / "data"
    fill(root, "new\nline", "caf\u00e9", "1", "10", "2", count=6)
    for name in (b"a\nb.png", b"\xff\xfe.png", b"back\\slash.png", "l\u2028s.png".encode(), "e\u0301.png".encode()):
        Image.new("RGB", (8, 8)).save(root / "1" / os.fsdecode(name))
    samples = scan_folder(root)
    assert samples.classes == ("1", "2", "10", "caf\u00e9", "new\nline")
    assert len(samples) == 35
    assert all(name.splitlines() == [name] and name.encode() for name in samples.names)
    decode(samples, PREPROCESSING, cache=tmp_path / "cache")
    listed = tmp_path / "validation.txt"
    listed.write_text("".join(f"{name}\n" for name in samples.names))
    assert open_evaluation("folder", root, listed).names == samples.names
    listed.write_text("1/back\\slash.png\n")  # as lists were written before names were escaped
    assert open_evaluation("folder", root, listed).names == ("1/back\\\\slash.png",)


def test_classes_that_look_the_same_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "caf\u00e9", "cafe\u0301")
    with pytest.raises(DataError, match="differ only in how Unicode writes them"):
        scan_folder(tmp_path)


def test_folders_of_another_unicode_form_hold_the_same_classes(tmp_path: Path) -> None:
    fill(tmp_path / "train", "caf\u00e9", "dog")
    fill(tmp_path / "val", "cafe\u0301", "dog")
    train, validation = open_splits(DataRecipe(root=tmp_path), seed=0)
    assert train.classes == validation.classes


def test_a_class_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "cat", os.fsdecode(b"\xff"))
    with pytest.raises(DataError, match="not UTF-8"):
        scan_folder(tmp_path)


def test_a_list_of_the_validation_images_is_not_of_training_images_numbered_alike(tmp_path: Path) -> None:
    root, listed = tmp_path / "data", tmp_path / "validation.txt"
    fill(root / "train", "cat", "dog", count=5)
    fill(root / "val", "cat", "dog", count=3)
    _, validation = open_splits(DataRecipe(root=root), seed=0)
    listed.write_text("".join(f"{name}\n" for name in validation.names))
    assert open_evaluation("folder", root, listed).origin == root / "val"
    # None of them is a training image that could be left out.
    assert len(open_training("folder", root, listed)) == 10


def test_a_list_of_some_images_that_two_splits_have_is_refused_until_one_is_named(tmp_path: Path) -> None:
    root, listed = tmp_path / "data", tmp_path / "some.txt"
    fill(root / "train", "cat", "dog", count=5)
    fill(root / "val", "cat", "dog", count=3)
    listed.write_text("cat/0.png\ndog/1.png\n")
    with pytest.raises(DataError, match=r"all 2 listed images are in .*train and in .*val: name the one"):
        open_evaluation("folder", root, listed)
    for split in ("train", "val"):
        assert open_evaluation("folder", root / split, listed).origin == root / split
    assert len(open_training("folder", root, listed)) == 8
    listed.write_text("cat/0.png\ncat/4.png\n")
    assert open_evaluation("folder", root, listed).origin == root / "train"
