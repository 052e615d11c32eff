"""The plain loop that servers are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from ait_lite.decode import ImageLimits, decode
from service.benchmark.images import make_pictures
from service.benchmark.plain_loop import Raw, RawError, Way
from service.model_process.classifier import Classifier
from service.repository.folders import locate


def test_the_plain_loop_answers_as_the_model_does(model_folder: Path) -> None:
    pictures = make_pictures(48, 40)[:3]
    classifier = Classifier(locate(model_folder), device="cpu")
    raw = Raw(locate(model_folder), pictures, "cpu")
    try:
        expected = [labels[0] for labels in classifier.classify([decode(each, ImageLimits()) for each in pictures])]
        assert [label for label, _ in raw.labels()] == [label for label, _ in expected]
        assert [score for _, score in raw.labels()] == pytest.approx([score for _, score in expected], abs=1e-4)
        for way in (Way(2, True), Way(2, streams=2)):
            assert raw.rate(way, 0.01).pictures > 0
        assert raw.single(0.01) > 0
    finally:
        raw.close()


def test_a_model_that_cannot_be_loaded_is_named(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(RawError, match=str(tmp_path)):
        Raw(locate(tmp_path), make_pictures(8, 8), "cpu")
