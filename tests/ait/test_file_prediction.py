"""Files are answered in their order, whatever is decoded first and however they are batched."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ait
from ait.file_prediction import find_images, predict_files
from ait.file_prediction_benchmark import benchmark_prediction
from tests.support.processes.waiting import wait_for_event

NAME = "ait_tiny_patch4_32.cifar10"


@pytest.fixture(scope="module")
def classifier() -> ait.Classifier:
    return ait.load(NAME, device="cpu", batch_size=3)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """20 images, each third one in a file too large to be decoded by the thread that asks."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for index in range(20):
        pixels = generator.integers(0, 255, (60, 60, 3) if index % 3 == 0 else (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return sorted(folder.iterdir())


def test_answers_are_those_of_the_classifier_in_order(classifier: ait.Classifier, files: list[Path]) -> None:
    asked = [*files[:5], Path("nowhere.png"), *files[5:]]
    found = list(predict_files(classifier, asked, top_k=2))
    assert [each.path for each in found] == asked
    assert found[5].error == "There is no such file."
    expected = classifier.predict(files, top_k=2)
    for labels, each in zip(expected, found[:5] + found[6:], strict=True):
        assert [name for name, _ in labels] == [name for name, _ in each.labels]
        assert [score for _, score in labels] == pytest.approx([score for _, score in each.labels], abs=1e-5)
    assert list(predict_files(classifier, [])) == []


def test_images_are_decoded_while_the_model_works(
    classifier: ait.Classifier, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond, caller = threading.Event(), threading.current_thread()
    crop, classify = classifier.crop, classifier.classify

    def crop_and_tell(image: ait.classifier.ImageLike) -> object:
        if image == files[3]:  # of the second batch
            assert threading.current_thread() is not caller
            beyond.set()
        return crop(image)

    def wait_and_classify(batch: object) -> object:
        wait_for_event(beyond, "the second batch to be decoded")
        return classify(batch)  # type: ignore[arg-type]

    monkeypatch.setattr(classifier, "crop", crop_and_tell)
    monkeypatch.setattr(classifier, "classify", wait_and_classify)
    assert len(list(predict_files(classifier, files))) == 20


def test_small_files_are_decoded_by_the_thread_that_asks(
    classifier: ait.Classifier, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[object, threading.Thread] = {}
    crop = classifier.crop

    def crop_and_note(image: ait.classifier.ImageLike) -> object:
        threads[image] = threading.current_thread()
        return crop(image)

    monkeypatch.setattr(classifier, "crop", crop_and_note)
    list(predict_files(classifier, files))
    mine = [path for path, thread in threads.items() if thread is threading.current_thread()]
    assert sorted(map(str, mine)) == [str(path) for index, path in enumerate(files) if index % 3]


def test_files_are_taken_as_they_are_needed(classifier: ait.Classifier, files: list[Path]) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield files[taken % 20]

    answers = predict_files(classifier, endless())
    for _ in range(4):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert taken <= 5 * classifier.batch_size


def test_named_files_are_taken_as_they_are(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / ".hidden.xyz").touch()
    found = find_images([tmp_path / ".hidden.xyz", files[0].parent, tmp_path / "nowhere"])
    assert found.paths == [tmp_path / ".hidden.xyz", *files, tmp_path / "nowhere"]
    with pytest.raises(FileNotFoundError, match="holds no images"):
        find_images([tmp_path])


def test_both_kinds_of_files_are_timed(classifier: ait.Classifier, tmp_path: Path) -> None:
    rates = benchmark_prediction(classifier, tmp_path, small=7, photos=2, rounds=1)
    assert [(rate.files, rate.count) for rate in rates] == [("PNG, 32 x 32", 7), ("JPEG, 1600 x 1200", 2)]
    assert all(rate.share > 0 and rate.plain_per_second > 0 for rate in rates)
