"""Class folders are scanned in order, and split as they say or as a fraction says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.data import LabelledImages, Preprocessing, decode, open_evaluation, open_splits
from training.data.sources.folder import scan_folder
from training.data.sources.splits import split
from training.errors import DataError
from training.recipe.keys import DataRecipe

PREPROCESSING = Preprocessing((3, 16, 16), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")


def test_scan_sorts_classes_and_files(data_root: Path) -> None:
    samples = scan_folder(data_root / "train")
    assert samples.classes == ("ant", "bee", "cat")
    assert len(samples) == 33
    assert list(samples.names) == sorted(samples.names)
    assert samples.labels.tolist() == [0] * 11 + [1] * 11 + [2] * 11


def test_scan_refuses_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"photo\.jpg is a file: name the folder"):
        scan_folder(tmp_path / "photo.jpg")
    with pytest.raises(DataError, match="no such data folder"):
        scan_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="no class folders"):
        scan_folder(tmp_path)
    with pytest.raises(DataError, match="no data source 'folders'; choose from folder, table"):
        open_evaluation("folders", tmp_path)
    (tmp_path / "ant").mkdir()
    with pytest.raises(DataError, match="ant holds no images"):
        scan_folder(tmp_path)


def test_test_folder_is_the_validation_unless_a_fraction_is_held_out(data_root: Path) -> None:
    train, validation = open_splits(DataRecipe(root=data_root), seed=0)
    assert (train.origin.name, validation.origin.name) == ("train", "test")
    train, validation = open_splits(DataRecipe(root=data_root, validation_fraction=0.3), seed=0)
    assert validation.origin.name == "train"
    assert validation.labels.bincount().tolist() == [3, 3, 3]
    assert sorted(train.names + validation.names) == sorted(scan_folder(data_root / "train").names)


def test_a_tenth_is_held_out_where_there_is_no_validation_folder(data_root: Path) -> None:
    train, validation = open_splits(DataRecipe(root=data_root / "train"), seed=0)
    assert (len(train), validation.labels.bincount().tolist()) == (30, [1, 1, 1])


def test_evaluation_takes_the_held_out_folder_or_the_listed_images(data_root: Path, tmp_path: Path) -> None:
    assert open_evaluation("folder", data_root).origin.name == "test"
    assert open_evaluation("folder", data_root / "train").origin.name == "train"
    _, validation = open_splits(DataRecipe(root=data_root, validation_fraction=0.3), seed=0)
    listed = tmp_path / "validation.txt"
    listed.write_text("".join(f"{name}\n" for name in validation.names))
    samples = open_evaluation("folder", data_root, listed)
    assert samples.names == validation.names
    assert torch.equal(samples.labels, validation.labels)
    listed.write_text("ant/absent.png\n")
    with pytest.raises(DataError, match=r"lacks 1 of the 1 listed images: \['ant/absent.png'\]"):
        open_evaluation("folder", data_root, listed)


def test_different_classes_in_the_folders_are_refused(tmp_path: Path) -> None:
    for part, name in (("train", "ant"), ("train", "bee"), ("val", "ant")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / part / name / "0.png")
    with pytest.raises(DataError, match="different classes: bee"):
        open_splits(DataRecipe(root=tmp_path), seed=0)


def test_imagenet_folders_are_read(tmp_path: Path) -> None:
    """Folders named by WordNet numbers, ``train/n01440764/*.JPEG``, of several sizes and one of them grey."""
    for part, count in (("train", 3), ("val", 2)):
        for label, wnid in enumerate(("n01440764", "n01443537")):
            folder = tmp_path / part / wnid
            folder.mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (40 + 10 * index, 30), (0, 200 * label, 60))
                image = image.convert("L") if index == 1 else image
                image.save(folder / f"{wnid}_{index}.JPEG", format="JPEG")
    train, validation = open_splits(DataRecipe(root=tmp_path), seed=0)
    assert train.classes == validation.classes == ("n01440764", "n01443537")
    assert (train.labels.tolist(), validation.labels.tolist()) == ([0] * 3 + [1] * 3, [0] * 2 + [1] * 2)
    assert train.names[0] == "n01440764/n01440764_0.JPEG"
    _, images = decode(train, PREPROCESSING, cache=tmp_path / "cache")
    assert images.shape == (6, 3, 16, 16)
    middle = images[:, :, 8, 8].int()
    assert (middle[[0, 2]] - torch.tensor([0, 0, 60])).abs().max() <= 3
    assert (middle[[3, 5]] - torch.tensor([0, 200, 60])).abs().max() <= 3
    assert middle[4].unique().numel() == 1


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_a_split_holds_out_the_share_of_every_class_once(counts: list[int], fraction: float, seed: int) -> None:
    labels = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)))
    names = tuple(str(index) for index in range(len(labels)))
    samples = LabelledImages(Path("x"), tuple(f"class {index}" for index in range(len(counts))), names, labels)
    kept, held = split(samples, fraction, seed)
    assert sorted(kept.names + held.names, key=int) == list(names)
    for part in (kept, held):
        assert part.labels.tolist() == [int(labels[int(name)]) for name in part.names]
    for count, found in zip(counts, held.labels.bincount(minlength=len(counts)).tolist(), strict=True):
        assert 1 <= found < count
        assert abs(found - fraction * count) <= 1
    assert split(samples, fraction, seed)[1].names == held.names


def test_another_seed_holds_out_other_images(data_root: Path) -> None:
    samples = scan_folder(data_root / "train")
    assert split(samples, 0.3, seed=0)[1].names != split(samples, 0.3, seed=1)[1].names


def test_a_class_of_one_image_is_refused() -> None:
    samples = LabelledImages(Path("here"), ("ant", "bee"), ("a", "b", "c"), torch.tensor([0, 0, 1]))
    with pytest.raises(DataError, match="class 'bee' in here has 1 image: too few"):
        split(samples, 0.5, seed=0)
