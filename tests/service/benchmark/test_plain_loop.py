"""The plain loop that servers are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from service.benchmark.images import make_images
from service.benchmark.plain_loop import LoopConfig, PlainLoop, PlainLoopError, _Loop
from service.model_process.classifier import Classifier
from service.model_process.runtimes import choice
from service.repository.folders import locate


def test_the_plain_loop_answers_as_the_model_does(model_folder: Path) -> None:
    images = make_images(48, 40)[:3]
    classifier = Classifier(locate(model_folder), device="cpu")
    plain_loop = PlainLoop(locate(model_folder), images, "cpu")
    try:
        expected = [labels[0] for labels in classifier.classify([decode(each, ImageLimits()) for each in images])]
        assert [label for label, _ in plain_loop.labels()] == [label for label, _ in expected]
        assert [score for _, score in plain_loop.labels()] == pytest.approx([score for _, score in expected], abs=1e-4)
        for config in (LoopConfig(2, True), LoopConfig(2, streams=2)):
            assert plain_loop.rate(config, 0.01).images > 0
        assert plain_loop.single(0.01) > 0
    finally:
        plain_loop.close()


def test_a_model_that_cannot_be_loaded_is_named(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(PlainLoopError, match=str(tmp_path)):
        PlainLoop(locate(tmp_path), make_images(8, 8), "cpu")


def test_the_plain_loop_answers_in_another_precision_too(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(choice, "has_bf16", lambda: True)  # torch computes so on every processor, only slowly
    monkeypatch.setenv("AIT_CACHE", str(tmp_path))
    images = make_images(48, 40)[:3]
    expected = Classifier(locate(model_folder), device="cpu").classify(
        [decode(each, ImageLimits()) for each in images]
    )
    loop = _Loop(locate(model_folder), images, "cpu", choice.Wanted("torch", "bf16"))
    assert loop.runtime() == ("torch", "bf16")
    in_fp32 = [score for (_, score), *_ in expected]
    assert [score for _, score in loop.labels("fp32")] == pytest.approx(in_fp32, abs=1e-5)
    assert [score for _, score in loop.labels(None)] != pytest.approx(in_fp32, abs=1e-5)
