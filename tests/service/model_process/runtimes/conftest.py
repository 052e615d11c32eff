"""One prepared model, made once: it takes as long as all that these tests do with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ait.export import export_serving
from ait.pretrained import load_model


@pytest.fixture(scope="package")
def prepared_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with graphs in place of the weights; a test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("prepared") / "colours"
    export_serving(load_model(model_folder), model_folder, folder, int8=False)
    return folder
