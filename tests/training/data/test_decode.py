"""Images are decoded once; broken ones are named, and stop the run or are left out."""

import dataclasses
import errno
import io
import os
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from training.data import LabelledImages, Preprocessing, check, decode
from training.data.decode import default_cache
from training.data.sources.folder import scan_folder
from training.errors import DataError

PREPROCESSING = Preprocessing((3, 16, 16), "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 0.9, "center")


@pytest.fixture
def mixed(tmp_path: Path) -> LabelledImages:
    """Three broken images among five good ones; a good one of class c and number n is (100 c, n, 0)."""
    root = tmp_path / "mixed"
    for label, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (16, 16), (100 * label, index, 0)).save(root / name / f"{index}.png")
    (root / "ant" / "1.png").write_bytes(b"")
    (root / "ant" / "3.png").write_text("not an image")
    torn = root / "bee" / "2.png"
    torn.write_bytes(torn.read_bytes()[:-30])
    return scan_folder(root)


BROKEN = ("ant/1.png", "ant/3.png", "bee/2.png")


def test_all_broken_images_are_named(mixed: LabelledImages, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="3 images") as error:
        decode(mixed, dataclasses.replace(PREPROCESSING, crop_pct=1.0), cache=cache)
    with pytest.raises(DataError, match="3 images") as checked:
        check(mixed, cache=cache)
    for message in (str(error.value), str(checked.value)):
        assert all(f"{name}: " in message for name in BROKEN)
        assert "data.broken=skip" in message
    # Nothing is kept of a failure, which may pass.
    assert not list(cache.iterdir())


def test_broken_images_can_be_skipped(mixed: LabelledImages, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    console = Console(record=True, width=200, file=io.StringIO())
    samples, images = decode(mixed, PREPROCESSING, broken="skip", cache=cache, console=console)
    assert samples.names == ("ant/0.png", "ant/2.png", "bee/0.png", "bee/1.png", "bee/3.png")
    assert samples.labels.tolist() == [0, 0, 1, 1, 1]
    assert images[:, :, 8, 8].tolist() == [[0, 0, 0], [0, 2, 0], [100, 0, 0], [100, 1, 0], [100, 3, 0]]
    shown = console.export_text()
    assert "skipping 3 of 8 images" in shown
    assert all(f"{name}: " in shown for name in BROKEN)
    again, same = decode(mixed, PREPROCESSING, broken="skip", cache=cache)
    assert again.names == samples.names
    assert torch.equal(same, images)
    # What was found is not forgotten where broken images are an error.
    with pytest.raises(DataError, match="3 images"):
        decode(mixed, PREPROCESSING, cache=cache)
    assert check(mixed, broken="skip", cache=cache).names == samples.names


def test_a_mended_image_is_decoded(mixed: LabelledImages, tmp_path: Path) -> None:
    decode(mixed, PREPROCESSING, broken="skip", cache=tmp_path / "cache")
    for name in BROKEN:
        Image.new("RGB", (16, 16), (9, 9, 9)).save(mixed.origin / name)
    samples, images = decode(mixed, PREPROCESSING, broken="skip", cache=tmp_path / "cache")
    assert samples.names == mixed.names
    assert images[1, :, 8, 8].tolist() == [9, 9, 9]


def test_the_check_is_made_once_until_a_file_changes(
    mixed: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = check(mixed, broken="skip", cache=tmp_path)
    assert not set(BROKEN) & set(samples.names)
    assert len(samples) == 5
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: pytest.fail("read again"))
        assert check(mixed, broken="skip", cache=tmp_path).names == samples.names
    os.utime(mixed.origin / "ant" / "0.png", (1, 1))
    (mixed.origin / "ant" / "0.png").write_bytes(b"now this too")
    assert len(check(mixed, broken="skip", cache=tmp_path)) == 4


def test_broken_images_only_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "ant").mkdir(parents=True)
    (tmp_path / "data" / "ant" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="no image in"):
        decode(scan_folder(tmp_path / "data"), PREPROCESSING, broken="skip", cache=tmp_path / "cache")


def test_decoding_happens_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "data" / "ant" / "0.png"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (16, 16), (10, 20, 30)).save(file)
    samples = scan_folder(tmp_path / "data")
    cache = tmp_path / "cache"
    _, images = decode(samples, PREPROCESSING, cache=cache)
    assert images.shape == (1, 3, 16, 16)
    assert images.dtype == torch.uint8
    assert images[0, :, 5, 5].tolist() == [10, 20, 30]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: pytest.fail("decoded again"))
        assert torch.equal(decode(samples, PREPROCESSING, cache=cache)[1], images)
    Image.new("RGB", (16, 16), (40, 50, 60)).save(file)
    os.utime(file, (1, 1))
    assert decode(samples, PREPROCESSING, cache=cache)[1][0, :, 5, 5].tolist() == [40, 50, 60]
    other = dataclasses.replace(PREPROCESSING, input_size=(3, 8, 8))
    assert decode(samples, other, cache=cache)[1].shape == (1, 3, 8, 8)


def test_damaged_cache_is_decoded_again(data_root: Path, tmp_path: Path) -> None:
    samples = scan_folder(data_root / "test")
    images = decode(samples, PREPROCESSING, cache=tmp_path)[1].clone()
    for cached in list(tmp_path.iterdir()):
        cached.write_bytes(b"torn")
        assert torch.equal(decode(samples, PREPROCESSING, cache=tmp_path)[1], images)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_in_memory_are_resized_or_taken_as_they_are(channels: int, tmp_path: Path) -> None:
    pixels = torch.arange(4 * channels * 256).mul(7).to(torch.uint8).view(4, channels, 16, 16)
    samples = LabelledImages(Path("made"), ("a",), tuple("0123"), torch.zeros(4, dtype=torch.int64), pixels)
    whole = dataclasses.replace(PREPROCESSING, crop_pct=1.0)
    assert torch.equal(decode(samples, whole, cache=tmp_path)[1], pixels.expand(-1, 3, -1, -1))
    assert not list(tmp_path.iterdir())
    small = dataclasses.replace(whole, input_size=(3, 8, 8))
    expected = torch.stack([small.decode(samples.image(index)) for index in range(4)])
    assert torch.equal(decode(samples, small, cache=tmp_path)[1], expected)
    altered = dataclasses.replace(samples, pixels=255 - pixels)
    assert not torch.equal(decode(altered, small, cache=tmp_path)[1], expected)


def test_a_file_replaced_under_its_size_and_date_is_decoded_again(tmp_path: Path) -> None:
    file = tmp_path / "data" / "ant" / "0.ppm"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (16, 16), (10, 20, 30)).save(file)
    before = file.stat()
    samples = scan_folder(tmp_path / "data")
    decode(samples, PREPROCESSING, cache=tmp_path)
    Image.new("RGB", (16, 16), (40, 50, 60)).save(tmp_path / "new.ppm")
    os.utime(tmp_path / "new.ppm", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new.ppm").replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert decode(samples, PREPROCESSING, cache=tmp_path)[1][0, :, 5, 5].tolist() == [40, 50, 60]


def test_an_unwritable_cache_is_named(mixed: LabelledImages, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for open_ in (decode, lambda samples, _, **options: check(samples, **options)):
        with pytest.raises(DataError, match=r"cannot be kept in .*file/cache.*data\.cache=FOLDER"):
            open_(mixed, PREPROCESSING, cache=tmp_path / "file" / "cache")


def test_without_a_home_decoded_images_are_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "ait" / "images"
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    found = default_cache()
    assert (found.parent, found.stat().st_mode & 0o777) == (tmp_path / "temporary", 0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"name one with data\.cache=FOLDER"):
        default_cache()


def test_a_full_disk_is_named(mixed: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(import_module("training.data.decode"), "_save", full)
    with pytest.raises(DataError, match=r"No space left.*make room"):
        decode(mixed, PREPROCESSING, broken="skip", cache=tmp_path / "cache")
