"""Trials that several commands have trained tell which has trained which."""

import sys
from pathlib import Path

import pytest

from training.experiments.environment import record_environment, recorded_environments


def test_trials_of_one_command_stand_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, words in enumerate((["one"], ["one"], ["two", "a b"])):
        monkeypatch.setattr(sys, "argv", ["/usr/local/bin/ait", *words])
        record_environment(tmp_path, f"vit-seed-{seed}")
    (tmp_path / "vit-seed-0.json").write_text("{}")  # a result is no environment
    found = {each["command"]: each for each in recorded_environments(tmp_path)}
    assert {command: each["trials"] for command, each in found.items()} == {
        "ait one": ["vit-seed-0", "vit-seed-1"],
        "ait two 'a b'": ["vit-seed-2"],
    }
    assert {"packages", "python", "platform", "processor", "git"} <= found["ait one"].keys()
    assert recorded_environments(tmp_path / "none") == []
