"""Corrections hold, move nothing else, and are withdrawn without a trace."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import ait
from ait_lite.checkpoint import CheckpointError, fingerprint
from ait_lite.corrections import Corrections, load_corrections
from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from service.model_process.classifier import Classifier
from service.repository.folders import locate
from tests.support.images.training_images import CLASSES, write_images
from training.errors import DataError, OutputError
from training.teaching.correct import correct, fit_gate, withdraw
from training.teaching.files import LabelledFile, image_files


@pytest.fixture
def model(checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint, tmp_path / "model")


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("validation")
    write_images(root / "val", 40, seed=9)
    return root


@pytest.fixture
def wrong(model: Path, images: Path) -> list[LabelledFile]:
    """Images with a label that the untrained model does not give them."""
    paths = image_files([images / "asked"])
    labels = [answer[0][0] for answer in ait.load(model).predict(paths)]
    return [
        LabelledFile(path, CLASSES[(CLASSES.index(label) + 1) % 3]) for path, label in zip(paths, labels, strict=True)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_corrections_hold_in_library_and_service(model: Path, wrong: list[LabelledFile], validation: Path) -> None:
    before = contents(model)
    result = correct(model, wrong, validation)
    assert (result.added, result.already_right, result.refused) == (len(wrong), 0, ())
    assert result.holding >= 0.95
    assert abs(result.accuracy_after - result.accuracy_before) <= 0.02  # one of sixty images
    paths = [file.path for file in wrong]
    assert [answer[0][0] for answer in ait.load(model).predict(paths)] == [file.label for file in wrong]
    images = [decode(path.read_bytes(), ImageLimits()) for path in paths]
    served = Classifier(locate(model)).classify(images)
    assert [labels[0][0] for labels in served] == [file.label for file in wrong]
    for name, data in before.items():
        assert (model / name).read_bytes() == data

    assert correct(model, wrong, validation).added == 0
    assert withdraw(model, paths[:1]) == 1
    with pytest.raises(DataError, match="no correction of"):
        withdraw(model, paths[:1])
    assert withdraw(model) == len(wrong) - 1
    assert contents(model) == before
    with pytest.raises(DataError, match="no corrections"):
        withdraw(model)


def test_right_answers_need_no_correction(model: Path, images: Path, validation: Path) -> None:
    path = image_files([images / "asked"])[0]
    label = ait.load(model).predict(path)[0][0]
    result = correct(model, [LabelledFile(path, label)], validation)
    assert (result.added, result.already_right, result.corrections) == (0, 1, 0)
    assert load_corrections(model) is None


def test_what_validation_images_contradict_is_refused(model: Path, validation: Path) -> None:
    path = validation / "val" / "ant" / "000.png"
    result = correct(model, [LabelledFile(path, label) for label in ("bee", "cat")], validation)
    assert result.corrections == 0
    assert "000.png" in result.refused[0]


def test_a_copy_is_corrected_and_the_original_is_not(
    model: Path, wrong: list[LabelledFile], validation: Path, tmp_path: Path
) -> None:
    before = contents(model)
    with pytest.raises(DataError, match="no such data folder"):
        correct(model, wrong, tmp_path / "nowhere", output=tmp_path / "corrected")
    correct(model, wrong, validation, output=tmp_path / "corrected")
    assert contents(model) == before
    assert load_corrections(tmp_path / "corrected") is not None
    with pytest.raises(OutputError, match="exists already"):
        correct(model, wrong, validation, output=tmp_path / "corrected")


def test_unknown_labels_and_other_weights_are_refused(
    model: Path, checkpoint: Path, wrong: list[LabelledFile], validation: Path
) -> None:
    with pytest.raises(DataError, match=r"does not know dog.*ant, bee, cat"):
        correct(model, [LabelledFile(wrong[0].path, "dog")], validation)
    correct(model, wrong, validation)
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="other weights"):
        load_corrections(model)
    (model / "corrections.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="ait correct"):
        ait.load(model)


def corrections(keys: np.ndarray, labels: list[int], gate: float = 0.9) -> Corrections:
    ids = tuple(str(index) for index in range(len(keys)))
    boosts = np.full(len(keys), 5.0, np.float32)
    return Corrections(
        ids, ids, keys.astype(np.float32), np.array(labels), boosts, np.zeros(keys.shape[1], np.float32), gate, "f"
    )


def test_the_most_similar_key_answers_and_only_above_the_gate() -> None:
    two = corrections(np.eye(3)[:2], [2, 0])
    features = np.array([[1.0, 0.2, 0.0], [0.0, 3.0, 0.1], [1.0, 1.0, 0.0]])
    corrected = two.apply(features, np.zeros((3, 3)))
    np.testing.assert_array_equal(corrected.used, [0, 1, -1])
    np.testing.assert_array_equal(corrected.logits, [[0, 0, 5], [5, 0, 0], [0, 0, 0]])


def test_the_gate_lets_one_in_a_thousand_pass_wrongly() -> None:
    random = np.random.default_rng(0)
    made = corrections(random.standard_normal((20, 16)), list(range(20)))
    features, labels = random.standard_normal((2000, 16)) + made.keys[random.integers(0, 20, 2000)], np.full(2000, 99)
    gate = fit_gate(made, features, labels)
    assert (made.cosines(features).max(axis=1) >= gate).sum() == 2
    assert fit_gate(made, features, made.labels[made.cosines(features).argmax(axis=1)]) == 0.9


def test_a_saved_file_is_the_same_and_bound_to_its_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    made = corrections(np.eye(16)[:3], [0, 1, 2])
    bound = Corrections(**{**vars(made), "fingerprint": fingerprint(folder)})
    bound.save(folder)
    loaded = load_corrections(folder)
    assert loaded is not None
    assert (loaded.ids, loaded.gate) == (bound.ids, bound.gate)
    np.testing.assert_array_equal(loaded.keys, bound.keys)
