"""A model runs in the fastest of what is installed and answers as it does, and whatever keeps one out is said."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from timm.models import VisionTransformer

from ait_lite.checkpoint import MANIFEST, WEIGHTS
from ait_lite.runtimes import Outputs
from ait_lite.runtimes.prepared import GRAPH, QUANTISED
from service.model_process.classifier import Classifier
from service.model_process.mixed_batch import split
from service.model_process.runtimes import choice, graph_model
from service.model_process.runtimes.choice import Wanted
from service.repository.folders import ModelError, locate
from tests.support.images.service_images import scene
from tests.support.models.graphs import flip_weight, stand_in_for_int8


@pytest.fixture
def both(prepared_folder: Path, model_folder: Path, tmp_path: Path) -> Path:
    """A copy with weights and graphs."""
    folder = Path(shutil.copytree(prepared_folder, tmp_path / "both"))
    shutil.copyfile(model_folder / WEIGHTS, folder / WEIGHTS)
    return folder


def answer(folder: Path, wanted: Wanted | None = None, **options: Any) -> tuple[Classifier, np.ndarray]:
    classifier = Classifier(locate(folder), wanted=wanted, max_batch=4, **options)
    return classifier, classifier.logits(split([classifier.prepare(scene(40, 30))] * 5))


def reason(classifier: Classifier, runtime: str, precision: str = "fp32") -> str:
    return next(
        each.reason for each in classifier.choice.tried if (each.runtime, each.precision) == (runtime, precision)
    )


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Have packages seem not to be installed."""
    find_spec = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name in packages else find_spec(name, package)

    for module in ("ait_lite.runtimes.graph", "service.model_process.classifier", "ait.export.graph"):
        monkeypatch.setattr(f"{module}.find_spec", without)


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_what_is_asked_for_answers(both: Path, model_folder: Path, runtime: Any) -> None:
    _, expected = answer(model_folder)
    classifier, logits = answer(both, Wanted(runtime), threads=2)
    assert (classifier.model.runtime, classifier.model.precision) == (runtime, "fp32")
    assert classifier.choice.reason == "asked for"
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    inputs = [np.full(classifier.input_size, value, kind) for kind in (np.uint8, np.float32) for value in (0, 1)]
    direct = Classifier(locate(model_folder))
    for operation in ("logits", "features"):  # bytes and normalised pixels in one batch
        found, same = (getattr(each, operation)(split([*inputs, inputs[0]])) for each in (classifier, direct))
        np.testing.assert_allclose(found, same, atol=1e-3)


def test_the_fastest_is_taken(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"torch": 10.0, "openvino": 20.0, "onnxruntime": 30.0}
    monkeypatch.setattr(choice, "measure", lambda models, *_: [{1: 5.0, 4: rates[each.runtime]} for each in models])
    classifier, _ = answer(both, Wanted())
    assert classifier.model.runtime == "onnxruntime"
    assert "the fastest here of 3" in classifier.choice.reason
    rates["torch"] = 40.0
    assert answer(both, Wanted())[0].model.runtime == "torch"
    told = classifier.choice.to_dict()
    assert [each["images_per_second"]["4"] for each in told["tried"]] == [10.0, 20.0, 30.0]
    assert all(each["agreement"]["largest_difference"] <= 1e-3 for each in told["tried"][1:])


def test_speed_is_measured_at_the_sizes_that_are_served(model_folder: Path) -> None:
    classifier, _ = answer(model_folder)
    first, second = choice.measure([classifier.model] * 2, max_batch=20, threads=1, streams=2)
    assert set(first) == set(second)
    assert set(first) in ({1}, {1, 8}, {1, 8, 20})  # as many as there is time for
    assert min(*first.values(), *second.values()) > 0


@pytest.mark.parametrize("weights", [True, False])
def test_a_flipped_weight_is_noticed(both: Path, weights: bool) -> None:
    flip_weight(both)
    if weights:
        classifier, _ = answer(both, Wanted("openvino"))
        assert classifier.model.runtime == "torch"
        assert "does not answer as the model does" in reason(classifier, "openvino")
        assert "openvino fp32 was asked for, but" in classifier.choice.reason
    else:
        (both / WEIGHTS).unlink()
        with pytest.raises(ModelError, match="does not answer as the model does"):
            answer(both, Wanted())


def test_an_altered_graph_is_refused_by_name(both: Path) -> None:
    (both / WEIGHTS).unlink()
    data = bytearray((both / GRAPH).read_bytes())
    data[len(data) // 2] ^= 1
    (both / GRAPH).write_bytes(data)
    with pytest.raises(ModelError, match=rf"{both / GRAPH} is torn or was altered"):
        answer(both)
    (both / MANIFEST).write_text("{}")
    with pytest.raises(ModelError, match="not of the format"):
        answer(both)


def test_a_runtime_that_is_not_installed(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "openvino")
    with pytest.raises(ModelError, match="AIT_RUNTIME=openvino: openvino is not installed: pip install openvino"):
        answer(both, Wanted("openvino"))
    with pytest.raises(ModelError, match=r'"runtime": "openvino" in some/serving\.json: openvino is not'):
        answer(both, Wanted("openvino", "fp32", "some/serving.json"))
    classifier, _ = answer(both, Wanted())
    assert "not installed" in reason(classifier, "openvino")
    hide(monkeypatch, "openvino", "onnxruntime")
    assert answer(both, Wanted())[0].model.runtime == "torch"
    hide(monkeypatch, "openvino", "torch")
    classifier, _ = answer(both)
    assert classifier.model.runtime == "onnxruntime"
    assert "torch is not installed: pip install 'associative-transformer[models]'" in classifier.no_torch
    with pytest.raises(ModelError, match="AIT_RUNTIME=torch: torch is not installed"):
        answer(both, Wanted("torch"))


def test_a_model_that_does_not_export_runs_in_torch(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = VisionTransformer.forward_features
    monkeypatch.setattr(
        VisionTransformer, "forward_features", lambda self, x, **_: forward(self, x if x.sum() > -1e9 else -x)
    )
    for _ in range(2):  # the second time without trying again
        classifier, _ = answer(model_folder, Wanted("onnxruntime"), cache=tmp_path)
        assert classifier.model.runtime == "torch"
        assert "torch.export cannot follow the model" in classifier.choice.reason
    assert [each.suffix for each in tmp_path.iterdir()] == [".failed"]


def test_a_precision_that_cannot_be_had_is_said(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.model_process.runtimes.choice.has_bf16", lambda: False)
    monkeypatch.setattr("ait_lite.runtimes.openvino_graph.computes_bf16", lambda: False)
    classifier, _ = answer(both, Wanted(precision="bf16"))
    assert classifier.model.precision == "fp32"
    assert "bf16 was asked for, but" in classifier.choice.reason
    assert reason(classifier, "torch", "bf16") == "this processor has no bf16 arithmetic"


def test_bf16_is_compared_before_it_answers(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_bf16", lambda: True)  # torch computes so everywhere, if not fast
    classifier, logits = answer(both, Wanted("torch", "bf16"))
    agreement = classifier.choice.tried[0].agreement
    assert agreement is not None
    assert agreement.largest_difference > 1e-4
    assert (classifier.model.precision == "bf16") == agreement.enough("bf16")
    assert np.isfinite(logits).all()


def test_int8_answers_only_if_it_agrees(both: Path) -> None:
    classifier, _ = answer(both, Wanted("onnxruntime", "int8"))
    assert (classifier.model.runtime, classifier.model.precision) == ("onnxruntime", "fp32")
    assert reason(classifier, "onnxruntime", "int8") == "no int8 graph was made"
    stand_in_for_int8(both)
    for runtime in ("onnxruntime", "openvino"):
        classifier, _ = answer(both, Wanted(runtime, "int8"))
        assert (classifier.model.runtime, classifier.model.precision) == (runtime, "int8")
        assert classifier.choice.tried[0].agreement is not None
    flip_weight(both, QUANTISED)
    classifier, _ = answer(both, Wanted("openvino", "int8"))
    assert (classifier.model.runtime, classifier.model.precision) == ("openvino", "fp32")
    assert "does not answer as the model does" in reason(classifier, "openvino", "int8")
    assert "openvino int8 was asked for, but" in classifier.choice.reason


def test_auto_takes_the_fastest_precision_that_agrees(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"fp32": 10.0, "bf16": 20.0, "int8": 30.0}
    monkeypatch.setattr(choice, "measure", lambda models, *_: [{1: rates[each.precision]} for each in models])
    stand_in_for_int8(both)
    assert answer(both, Wanted("onnxruntime", "auto"))[0].model.precision == "int8"
    flip_weight(both, QUANTISED)
    classifier, _ = answer(both, Wanted("onnxruntime", "auto"))
    assert classifier.model.precision == "fp32"
    assert "onnxruntime bf16: onnxruntime does not compute in bf16" in classifier.choice.reason


@pytest.mark.parametrize("alike", [True, False])
def test_a_copy_for_lone_images_is_compared_before_it_answers(
    both: Path, alike: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = graph_model.open_graph

    def open_graph(*arguments: Any, most: int, **options: Any) -> Any:
        graph = opened(*arguments, most=most, **options)
        if most > 1:
            return graph
        return lambda pixels: Outputs(graph(pixels).logits + (0.0 if alike else 0.01), graph(pixels).features)

    seconds = iter([1.0, 2.0])  # of the copy, and without it
    monkeypatch.setattr(graph_model, "open_graph", open_graph)
    monkeypatch.setattr(graph_model, "fastest", lambda _: next(seconds))
    monkeypatch.setattr("service.model_process.classifier.streams_on", lambda *_: 2)
    classifier, expected = answer(both, Wanted("openvino"), threads=2)
    lone = split([classifier.prepare(scene(40, 30))])
    np.testing.assert_allclose(classifier.logits(lone, 2), expected[:1], atol=1e-4)
    assert ("lone images are not answered sooner" in caplog.text) is not alike
