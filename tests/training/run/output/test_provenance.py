"""What a run writes down about where it ran."""

import json
import subprocess
from pathlib import Path

import timm
import torch

from training.run.output.provenance import environment, git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_versions_are_those_in_use() -> None:
    found = environment()
    assert found["packages"]["timm"] == timm.__version__
    assert torch.__version__.startswith(found["packages"]["torch"])
    assert json.loads(json.dumps(found)) == found


def test_git_state_tells_a_clean_tree_from_a_changed_one(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "notes").write_text("one")
    git(tmp_path, "add", "notes")
    git(tmp_path, "commit", "-qm", "Start")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "uncommitted_changes": False}
    (tmp_path / "notes").write_text("two")
    assert git_state(tmp_path) == {"commit": commit, "uncommitted_changes": True}
