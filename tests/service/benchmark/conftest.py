"""Photographs to send."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.images.service_images import encode, scene


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three JPEG files below it."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    for index in range(3):
        (folder / "deep" / f"{index}.jpg").write_bytes(encode(scene(40 + index, 30), "JPEG"))
    return folder
