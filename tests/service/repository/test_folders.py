"""Model folders on disk."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from service.repository.folders import ModelError, locate


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
