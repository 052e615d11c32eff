"""Every server is measured and checked in the precision that it computes in."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from ait_lite.runtimes.prepared import GRAPH
from service.benchmark.images import make_images
from service.benchmark.plain_loop import LoopConfig, PlainLoop, Rate
from service.benchmark.results import ServerResult, ServiceBenchmark
from service.benchmark.run import Measurement, told
from service.benchmark.systems import SYSTEMS, Running, ServerError, started
from service.benchmark.table import print_benchmark
from service.model_process.classifier import Classifier
from service.repository.folders import locate

IMAGES = make_images(48, 40)[:2]


class LoopInBf16:
    """A plain loop in bf16, whose answers lie far from those in fp32."""

    def __init__(self, in_fp32: list[tuple[str, float]]) -> None:
        self._answers = {"fp32": in_fp32, "bf16": [(label, score / 2) for label, score in in_fp32]}

    def runtime(self) -> tuple[str, str]:
        return "openvino", "bf16"

    def labels(self, precision: str | None = None) -> list[tuple[str, float]]:
        return self._answers[precision or "bf16"]

    def best_config(self, seconds: float) -> LoopConfig:
        return LoopConfig(1)

    def rate(self, config: LoopConfig, seconds: float) -> Rate:
        return Rate(1.0, 1.0)

    def single(self, seconds: float) -> float:
        return 1.0


@pytest.fixture(scope="module")
def measurement(model_folder: Path) -> Measurement:
    classifier = Classifier(locate(model_folder), device="cpu")
    found = classifier.classify([decode(each, ImageLimits()) for each in IMAGES])
    loop = cast(PlainLoop, LoopInBf16([labels[0] for labels in found]))
    return Measurement(loop, IMAGES, connections=2, seconds=0.2, progress=lambda text: None)


@pytest.fixture(scope="module")
def forty_lines(model_folder: Path, prepared_folder: Path) -> Iterator[Running]:
    environment = {"GRAPH": str(prepared_folder / GRAPH)}
    with started(SYSTEMS["onnxruntime"], model_folder, "cpu", environment) as running:
        yield running


def test_a_server_without_bf16_is_checked_and_named_in_fp32(measurement: Measurement, forty_lines: Running) -> None:
    found = measurement.round(SYSTEMS["onnxruntime"], forty_lines)
    assert (found.runtime, found.precision) == ("onnxruntime", "fp32")
    result = ServiceBenchmark(
        "m", "2 made images", 2, LoopConfig(1), 2, [ServerResult("onnxruntime", [found])], runtime="openvino bf16"
    )
    assert result.to_dict()["servers"][0]["summary"]["precision"] == "fp32"
    console = Console(file=StringIO(), width=130)
    print_benchmark(result, console)
    printed = cast(StringIO, console.file).getvalue()
    assert "onnxruntime fp32" in printed
    assert "onnxruntime: computes in fp32, the model without a server in bf16" in printed


def test_a_server_that_answers_in_another_precision_than_it_has_is_refused(
    measurement: Measurement, forty_lines: Running
) -> None:
    with pytest.raises(ServerError, match="the model in bf16 says"):
        measurement.round(SYSTEMS["litserve"], forty_lines)  # is taken for one that has bf16


def test_the_service_itself_says_what_it_runs_in(model_folder: Path) -> None:
    with started(SYSTEMS["ait"], model_folder, "cpu", {"AIT_RUNTIME": "torch"}) as running:
        assert told(running) == ("torch", "fp32")


def test_a_server_that_does_not_say_what_it_runs_in_is_refused(forty_lines: Running) -> None:
    with pytest.raises(ServerError, match="/v1/models"):
        told(forty_lines)
