"""Model folders on disk."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from service.repository.folders import ModelError, ModelKey, locate, scan


def test_missing_models(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ModelError, match=r"config\.json") as caught:
            locate(path)
        assert str(path) in str(caught.value)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ModelError, match="is not a folder"):
        locate(file)


def test_the_best_model_of_a_run_is_called_as_the_run(model_folder: Path, tmp_path: Path) -> None:
    best = tmp_path / "dogs" / "best"
    shutil.copytree(model_folder, best)
    assert locate(best).name == "best"  # it may be somebody's name for a model
    (tmp_path / "dogs" / "recipe.yaml").touch()
    with pytest.raises(ModelError, match=rf"Did you mean {re.escape(str(best))}\?"):
        locate(tmp_path / "dogs")
    found = locate(best)
    assert (found.name, found.version, found.path) == ("dogs", "1", best.resolve())


def test_names_that_no_answer_can_say_are_refused_by_others_that_it_can(model_folder: Path, tmp_path: Path) -> None:
    unsaid = os.fsdecode(b"d\xffgs")
    shutil.copytree(model_folder, tmp_path / unsaid / "1")
    shutil.copytree(model_folder, tmp_path / "cats" / "1")
    shutil.copytree(model_folder, tmp_path / "cats" / unsaid)
    found = scan(tmp_path)
    reasons = {key: each.refused for key, each in found.items()}
    assert "not UTF-8" in reasons.pop(ModelKey("d\\xffgs", "1"))
    assert "not a whole number" in reasons[ModelKey("cats", "d\\xffgs")]
    assert all(reason.encode() or not reason for reason in reasons.values())
    assert reasons.keys() == {ModelKey("cats", "1"), ModelKey("cats", "d\\xffgs")}
    assert reasons[ModelKey("cats", "1")] == ""
