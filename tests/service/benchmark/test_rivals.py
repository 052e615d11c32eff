"""The other servers answer as the model does: else their speed would tell nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from ait_lite.runtimes.prepared import GRAPH
from service.benchmark import client
from service.benchmark.client import Target
from service.benchmark.images import make_images
from service.benchmark.systems import SYSTEMS, check_installed, started
from service.model_process.classifier import Classifier
from service.repository.folders import locate


@pytest.mark.parametrize("name", ["onnxruntime", "litserve"])
def test_a_rival_starts_and_answers_as_the_model_does(name: str, model_folder: Path, prepared_folder: Path) -> None:
    system, images = SYSTEMS[name], make_images(48, 40)[:3]
    check_installed(system)
    classifier = Classifier(locate(model_folder), device="cpu")
    expected = classifier.classify([decode(each, ImageLimits()) for each in images])
    environment = {"AIT_PRECISION": "fp32", "GRAPH": str(prepared_folder / GRAPH)}
    with started(system, model_folder, "cpu", environment) as running:
        requests = [client.make_request(system.path, each, running.host) for each in images]
        answers = client.run(client.ask(Target(running.host, running.port, requests)))
    assert [status for status, _ in answers] == [200, 200, 200]
    for (_, body), labels in zip(answers, expected, strict=True):
        (prediction,) = json.loads(body)["predictions"]
        assert [each["label"] for each in prediction["labels"]] == [label for label, _ in labels]
        assert [each["score"] for each in prediction["labels"]] == pytest.approx(
            [score for _, score in labels], abs=1e-4
        )
