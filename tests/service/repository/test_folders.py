"""Model folders on disk."""

from __future__ import annotations

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
