"""Prediction for files, without a server."""

from __future__ import annotations

from pathlib import Path

from service.predict import predict_files
from tests.support.service_client import LABELS
from tests.support.service_images import encode, scene


def test_predict_files_names_what_it_cannot_use(model_folder: Path, tmp_path: Path) -> None:
    good, text, missing = tmp_path / "good.png", tmp_path / "notes.txt", tmp_path / "missing.png"
    good.write_bytes(encode(scene()))
    text.write_text("hello")
    found = predict_files([text, good, missing, tmp_path], model=model_folder, top_k=1)
    assert [each.path for each in found] == [text, good, missing, tmp_path]
    assert [bool(each.labels) for each in found] == [False, True, False, False]
    assert found[1].error is None
    assert found[1].labels[0][0] in LABELS
    for each in (found[0], found[2], found[3]):
        assert str(each.path) in str(each.error)
    assert predict_files([], model=model_folder) == []
