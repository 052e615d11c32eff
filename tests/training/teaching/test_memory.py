"""Memories of classes on files: what is taught is recalled, and what is forgotten leaves no trace."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ait_lite.class_memory import MemoryFolderError, Source, locked, open_memory
from tests.support.images.training_images import CLASSES
from tests.support.models.small_checkpoints import save_small_checkpoint
from training.errors import CheckpointError, DataError
from training.teaching.files import LabelledFile, image_files, labelled_files
from training.teaching.memory import LocalMemory, create_memory, forget, verify


@pytest.fixture
def memory(checkpoint: Path, images: Path, tmp_path: Path) -> LocalMemory:
    create_memory(tmp_path / "memory", str(checkpoint))
    taught = LocalMemory(tmp_path / "memory")
    taught.teach(labelled_files([images / "taught"]))
    return taught


def test_taught_classes_are_recalled_with_evidence(memory: LocalMemory, images: Path) -> None:
    asked = labelled_files([images / "asked"])
    answers = memory.recall([file.path for file in asked])
    assert [answer.labels[0][0] for answer in answers] == [file.label for file in asked]
    best = answers[0].evidence[0]
    assert Path(best.path).parent.name == best.label
    assert best.label == "ant"
    json.dumps([answer.to_json() for answer in answers])


def test_verifying_tells_what_is_told_right_without_itself(memory: LocalMemory, images: Path) -> None:
    found = verify(memory.path)
    assert (found.sound, found.examples, found.judged, found.accuracy) == (True, 24, 24, 1.0)
    ant = images / "taught" / "ant" / "000.png"
    memory.teach([LabelledFile(ant, "bee")])  # which nothing but itself speaks for
    assert verify(memory.path).accuracy == 23 / 24
    memory.teach([LabelledFile(ant, "wasp")])  # which has no others
    found = verify(memory.path)
    assert (found.judged, found.accuracy) == (23, 1.0)
    forget(memory.path, labels=["bee", "cat", "wasp"])
    found = verify(memory.path)
    assert (found.examples, found.accuracy) == (7, None)


def test_the_strongest_example_is_named_by_its_file(memory: LocalMemory, images: Path) -> None:
    (answer,) = memory.recall([images / "taught" / "ant" / "000.png"], evidence=0)
    assert answer.strongest is not None
    assert Path(answer.strongest_path).parent.name == "ant"


def test_the_folder_holds_everything(memory: LocalMemory, images: Path) -> None:
    again = LocalMemory(memory.path)
    paths = image_files([images / "asked"])
    assert again.recall(paths) == memory.recall(paths)
    assert sorted(path.name for path in memory.path.iterdir()) == ["memory.json", "memory.safetensors"]
    assert [path.name for path in memory.path.parent.iterdir()] == ["memory"]


def test_teaching_again_changes_nothing_and_another_label_corrects(memory: LocalMemory, images: Path) -> None:
    before = verify(memory.path).digest
    again = memory.teach(labelled_files([images / "taught"]))
    assert (again.added, again.relabelled, again.known) == (0, 0, 24)
    assert verify(memory.path).digest == before
    path = images / "taught" / "ant" / "000.png"
    changed = memory.teach([LabelledFile(path, "bee")])
    assert (changed.added, changed.relabelled, changed.known) == (0, 1, 0)
    assert changed.labels == {"ant": 7, "bee": 9, "cat": 8}
    memory.teach([LabelledFile(path, "ant")])
    assert verify(memory.path).digest == before


def test_identifiers_are_those_of_a_server_and_earlier_ones_stay_known(memory: LocalMemory, images: Path) -> None:
    path = images / "taught" / "ant" / "000.png"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = open_memory(memory.path)
    source, key = folder.sources.pop(digest[:32]), folder.memory.keys([digest[:32]])
    folder.memory.forget([digest[:32]])
    folder.memory.write_keys([digest[:16]], key, ["ant"])
    folder.sources[digest[:16]] = source
    folder.save()
    again = memory.teach([LabelledFile(path, "ant")])
    assert (again.added, again.relabelled, again.known) == (0, 0, 1)
    memory.teach([LabelledFile(path, "bee")])
    assert open_memory(memory.path).memory.label_of(digest[:16]) == "bee"
    folder = open_memory(memory.path)
    folder.sources[digest[:16]] = Source("", "", "")  # of a file, which does not say where examples come from
    folder.save()
    assert forget(memory.path, files=[path]) == 1
    assert memory.teach([LabelledFile(path, "ant")]).added == 1
    assert digest[:32] in open_memory(memory.path).memory


def test_a_file_is_forgotten_under_all_its_ids(memory: LocalMemory, images: Path) -> None:
    path = images / "taught" / "ant" / "000.png"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = open_memory(memory.path)
    key = folder.memory.keys([digest[:32]])
    folder.memory.write_keys(
        ["porch", "garden"], np.concatenate([key, key]), ["ant", "ant"]
    )  # as a server may have it
    folder.sources |= dict.fromkeys(("porch", "garden"), folder.sources[digest[:32]])
    folder.save()
    assert forget(memory.path, files=[path]) == 3
    left = open_memory(memory.path).memory
    assert not (left.keys(left.ids()) == key).all(1).any()


def test_a_label_is_forgotten_however_unicode_writes_it(memory: LocalMemory, images: Path) -> None:
    path = images / "taught" / "ant" / "000.png"
    for written, asked in (("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "cafe\u0301")):
        memory.teach([LabelledFile(path, written)])
        assert forget(memory.path, labels=[asked]) == 1
    with pytest.raises(DataError, match="holds no examples of 'cafe'"):
        forget(memory.path, labels=["cafe"])


def test_forgetting_leaves_no_trace(memory: LocalMemory, images: Path) -> None:
    before = verify(memory.path).digest
    asked = image_files([images / "asked" / "cat"])
    memory.teach(labelled_files([images / "asked" / "cat"], "stranger"))
    assert forget(memory.path, files=asked[:1]) == 1
    assert forget(memory.path, labels=["stranger"]) == 3
    assert verify(memory.path).digest == before
    assert verify(memory.path).sound
    kept = (memory.path / "memory.json").read_text()
    assert "stranger" not in kept
    assert str(asked[0]) not in kept
    some = open_memory(memory.path).memory.ids()[0]
    forget(memory.path, ids=[some])
    with pytest.raises(DataError, match="holds no example"):
        forget(memory.path, ids=[some])
    with pytest.raises(DataError, match=r"no examples of 'dog'.*ant, bee, cat"):
        forget(memory.path, labels=["dog"])


def test_another_model_is_refused_by_name(memory: LocalMemory, checkpoint: Path, tmp_path: Path) -> None:
    other = save_small_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(MemoryFolderError, match=f"{other} is another model"):
        LocalMemory(memory.path, str(other))
    with pytest.raises(MemoryFolderError, match="another model"):
        verify(memory.path, str(other))
    moved = shutil.copytree(checkpoint, tmp_path / "moved")
    assert LocalMemory(memory.path, str(moved)).recall([])[:1] == []
    with pytest.raises(CheckpointError, match="nowhere"):
        LocalMemory(memory.path, "nowhere")


def test_one_image_under_two_labels_is_refused(memory: LocalMemory, images: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice"
    for label in ("ant", "bee"):
        (twice / label).mkdir(parents=True)
        shutil.copy(images / "asked" / "cat" / "000.png", twice / label / "one.png")
    before = verify(memory.path).digest
    with pytest.raises(DataError, match="same image under two labels"):
        memory.teach(labelled_files([twice]))
    assert verify(memory.path).digest == before


def test_broken_files_are_named_or_left_out(memory: LocalMemory, images: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    good = images / "asked" / "ant" / "000.png"
    files = [LabelledFile(broken, "dog"), LabelledFile(good, "dog")]
    with pytest.raises(DataError, match=r"broken\.png.*--skip-broken"):
        memory.teach(files)
    result = memory.teach(files, skip_broken=True)
    assert result.added == 1
    assert "broken.png" in result.skipped[0]
    answers = memory.recall([broken, good])
    assert answers[0].error is not None
    assert answers[1].evidence[0].label == "dog"


def test_strangers_are_unknown(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    create_memory(tmp_path / "memory", str(checkpoint), unknown_level=0.1)
    memory = LocalMemory(tmp_path / "memory")
    memory.teach(labelled_files([images / "taught"]))
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    answer = memory.recall([tmp_path / "stripes.png"])[0]
    assert answer.unknown
    assert answer.p_value == answer.resolution == 1 / 25


def test_few_examples_cannot_tell_what_is_unknown(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    create_memory(tmp_path / "memory", str(checkpoint), unknown_level=0.1)
    memory = LocalMemory(tmp_path / "memory")
    asked = images / "asked" / "ant" / "000.png"
    nothing = memory.recall([asked])[0]
    assert (nothing.labels, nothing.unknown, nothing.p_value) == ((), None, None)
    assert nothing.reason == "Nothing has been taught yet."
    taught = labelled_files([images / "taught"])
    memory.teach(taught[:8])
    few = memory.recall([asked])[0]
    assert (few.unknown, few.reason) == (None, "It takes 9 examples to promise a level of 0.1, and there are 8.")
    memory.teach(taught[8:9])
    enough = memory.recall([asked])[0]
    assert (enough.unknown, enough.reason) == (False, "")


def test_places_without_labels_are_refused(images: Path, tmp_path: Path) -> None:
    assert {file.label for file in labelled_files([images / "taught"])} == set(CLASSES)
    for place, match in (
        (images / "nowhere", "no such"),
        (images / "taught" / "ant", "--label"),
        (images / "taught" / "ant" / "000.png", "--label"),
    ):
        with pytest.raises(DataError, match=match):
            labelled_files([place])
    with pytest.raises(DataError, match="no images"):
        image_files([tmp_path])


def test_a_memory_in_use_damaged_or_missing_is_refused(memory: LocalMemory, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MemoryFolderError, match="exists already"):
        create_memory(memory.path, str(checkpoint))
    with locked(memory.path), pytest.raises(MemoryFolderError, match="another process"):
        forget(memory.path, labels=["ant"])
    with pytest.raises(MemoryFolderError, match="ait memory create"):
        verify(tmp_path / "nothing")
    file = memory.path / "memory.json"
    file.write_text(file.read_text().replace(open_memory(memory.path).memory.digest(), "0" * 64))
    with pytest.raises(MemoryFolderError, match="damaged"):
        verify(memory.path)


def test_a_replacement_cut_short_is_undone(memory: LocalMemory) -> None:
    digest = verify(memory.path).digest
    memory.path.rename(memory.path.with_name(f".{memory.path.name}-previous"))
    assert verify(memory.path).digest == digest
