"""Memories on a checkpoint's features: what they answer, beside what its own head does on the same images."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ait.classifier import load
from ait_lite.class_memory import READOUTS, ClassMemory
from tests.support.images.training_images import CLASSES, write_images
from tests.support.models.small_checkpoints import save_small_checkpoint
from training.data.sources.folder import scan_splits
from training.errors import CheckpointError, DataError
from training.evaluation.evaluate import evaluate
from training.teaching import comparison as module
from training.teaching.comparison import ReadoutComparison, compare_readouts
from training.teaching.images import EmbeddedFile, embed_files


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_small_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six training images of each class, one more of the last, and four test images."""
    root = tmp_path / "data"
    write_images(root / "train", 6, seed=3)
    write_images(root / "test", 4, seed=4)
    shutil.copy(root / "test" / CLASSES[-1] / "000.png", root / "train" / CLASSES[-1] / "more.png")
    return root


def accuracies(found: ReadoutComparison) -> dict[str, float]:
    return {each.readout: each.share.accuracy for each in found.readouts}


def memory_of(checkpoint: Path, data: Path, random_features: int = 0) -> tuple[ClassMemory, np.ndarray, list[str]]:
    """Teach a memory as `ait memory` does; it, the test images' features, and their labels."""
    sides = []
    for samples in scan_splits(data):
        assert samples is not None
        files = [samples.file(index) for index in range(len(samples))]
        features = np.stack([each.features for each in embed_files(load(checkpoint), files)])
        sides.append((samples.names, features, [samples.classes[code] for code in samples.labels.tolist()]))
    memory = ClassMemory(sides[0][1].shape[1], random_features=random_features)
    memory.write(*sides[0])
    return memory, sides[1][1], sides[1][2]


@pytest.mark.parametrize("part", [5, 1024])
def test_answers_are_those_of_a_memory_and_of_the_head(
    part: int, checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART", part)
    for test in (data / "test" / CLASSES[0]).iterdir():  # images that each readout is wrong on
        shutil.copy(test, data / "test" / CLASSES[1] / f"wrong-{test.name}")
    seen: list[tuple[int, int]] = []
    found = compare_readouts(checkpoint, data, random_features=64, progress=lambda *done: seen.append(done))
    memory, queries, labels = memory_of(checkpoint, data, 64)
    for readout, accuracy in accuracies(found).items():
        answers = [answer.label for answer in memory.recall(queries, readout=readout)]
        assert accuracy == pytest.approx(np.mean([a == b for a, b in zip(answers, labels, strict=True)]))
        assert accuracy < 1
    assert tuple(accuracies(found)) == READOUTS
    assert (found.examples, found.classes, found.images) == (19, 3, 16)
    assert seen[-1] == (35, 35)
    assert found.random_features == memory.fullness().random_features
    assert found.head is not None
    assert found.head.accuracy == pytest.approx(evaluate(checkpoint, data, cache=tmp_path / "cache").top1)
    for each in found.readouts:
        assert each.against_head is not None
        assert each.against_head.difference == pytest.approx(each.share.accuracy - found.head.accuracy)
        low, high = each.against_head.interval
        assert low < each.against_head.difference < high


def test_some_examples_of_a_class_are_taught_at_most(checkpoint: Path, data: Path) -> None:
    shutil.rmtree(data / "train" / CLASSES[0])
    (data / "train" / CLASSES[0]).mkdir()
    shutil.copy(data / "test" / CLASSES[0] / "000.png", data / "train" / CLASSES[0])
    found = compare_readouts(checkpoint, data, ["prototype"], per_class=3)
    assert (found.examples, found.random_features) == (1 + 3 + 3, None)
    assert compare_readouts(checkpoint, data, ["prototype"], per_class=3) == found
    assert compare_readouts(checkpoint, data, ["prototype"], per_class=100).examples == 1 + 6 + 7


def test_listed_images_are_asked_about_and_not_taught(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    listed = tmp_path / "validation.txt"
    listed.write_text("".join(f"{name}/{index:03d}.png\n" for name in CLASSES for index in range(2)))
    found = compare_readouts(checkpoint, data / "train", ["ridge"], only=listed)
    assert (found.examples, found.images) == (19 - 6, 6)
    # Of the test images, names alone do not make an example of the training images one of these.
    (data / "train" / CLASSES[0] / "000.png").rename(data / "train" / CLASSES[0] / "other.png")
    found = compare_readouts(checkpoint, data, ["ridge"], only=listed)
    assert (found.examples, found.images) == (19, 6)
    listed.write_text("".join(f"{CLASSES[1]}/{index:03d}.png\n" for index in range(6)))
    with pytest.raises(DataError, match=f"no example to teach of classes that .* asks about: {CLASSES[1]}$"):
        compare_readouts(checkpoint, data / "train", only=listed)


def test_what_is_missing_in_the_data_is_said(checkpoint: Path, data: Path) -> None:
    with pytest.raises(DataError, match=f"{re.escape(str(data / 'train'))} has no train folder to teach"):
        compare_readouts(checkpoint, data / "train")
    (data / "test" / CLASSES[0]).rename(data / "test" / "zebra")
    with pytest.raises(DataError, match=r"no example to teach of classes that .*test asks about: zebra"):
        compare_readouts(checkpoint, data)
    shutil.rmtree(data / "test")
    with pytest.raises(DataError, match="has no val or test folder to ask about"):
        compare_readouts(checkpoint, data)


def test_a_class_that_is_not_asked_about_is_taught_all_the_same(checkpoint: Path, data: Path) -> None:
    shutil.rmtree(data / "test" / CLASSES[0])
    found = compare_readouts(checkpoint, data, ["ridge"])
    assert (found.classes, found.images) == (3, 8)
    assert found.head is not None


def test_a_head_of_other_classes_is_not_compared(checkpoint: Path, data: Path) -> None:
    for split in ("train", "test"):
        (data / split / CLASSES[0]).rename(data / split / "zebra")
    found = compare_readouts(checkpoint, data, ["ridge"])
    assert found.head is None
    assert "zebra" in found.reason
    assert found.readouts[0].against_head is None
    assert found.to_json()["readouts"][0]["against_head"] is None
    assert found.readouts[0].share.accuracy > 0.5


def test_a_head_that_tells_several_classes_is_not_compared(checkpoint: Path, data: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"multi_label": True}))
    found = compare_readouts(checkpoint, data, ["ridge"])
    assert found.head is None
    assert "any number of classes" in found.reason


def test_a_graph_without_weights_is_refused(checkpoint: Path, data: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "graph.json").write_text("{}")
    with pytest.raises(CheckpointError, match="name the checkpoint that it was exported from"):
        compare_readouts(checkpoint, data)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_features_that_no_memory_can_keep_are_named(
    value: float, checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable(_: Any, paths: list[Path], **__: Any) -> Iterator[EmbeddedFile]:
        yield EmbeddedFile(paths[0], "00", np.ones(4), np.zeros(3))
        yield EmbeddedFile(paths[1], "01", np.full(4, value), np.zeros(3))

    monkeypatch.setattr(module, "embed_files", unusable)
    with pytest.raises(CheckpointError, match=r"ant/001\.png features that no memory can keep"):
        compare_readouts(checkpoint, data)
