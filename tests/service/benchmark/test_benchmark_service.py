"""`ait bench service` against a real server in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app
from ait_lite.decode import ImageLimits, decode
from service.benchmark.benchmark import benchmark_service
from service.benchmark.images import PicturesError, make_pictures, read_pictures
from service.benchmark.plain_loop import Raw, RawError, Way
from service.benchmark.processes import listening_on
from service.benchmark.results import MemoryGrowth, Round, ServerResult, ServiceBenchmark
from service.benchmark.systems import SYSTEMS, Running, ServerError, System, check_installed, started
from service.model_process.classifier import Classifier
from service.repository.folders import locate
from tests.support.service_images import encode, scene


@pytest.fixture(scope="module")
def server(model_folder: Path) -> Iterator[Running]:
    with started(SYSTEMS["ait"], model_folder, "cpu") as running:
        yield running


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    for index in range(3):
        (folder / "deep" / f"{index}.jpg").write_bytes(encode(scene(40 + index, 30), "JPEG"))
    return folder


def test_the_command_measures_a_running_service(
    server: Running, model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    url = f"http://{server.host}:{server.port}"
    command = ["bench", "service", str(model_folder), "--url", url, "--images", str(photos), "--rounds", "2"]
    outcome = CliRunner().invoke(
        app, [*command, "--seconds", "0.2", "--connections", "4", "--soak", "60", "-o", str(report)]
    )
    assert outcome.exit_code == 0, outcome.output
    assert "of raw" in outcome.output
    assert "MB after 60" in outcome.output
    found = json.loads(report.read_text())
    assert found["model"] == "colours"
    (entry,) = found["servers"]
    assert entry["system"] == "ait"
    assert len(entry["rounds"]) == 2
    for one in entry["rounds"]:
        assert one["failures"] == {}
        assert min(one["rate"], one["raw_rate"], one["raw_cpu"], one["server_cpu"], one["single"], one["p99"]) > 0
        assert one["offered"] == pytest.approx(0.8 * one["rate"])
    assert found["memory"]["samples"][0][0] == 60


def test_a_server_with_another_model_is_not_measured(server: Running) -> None:
    with pytest.raises(ServerError, match="another model"):
        benchmark_service("test_vit", url=f"{server.host}:{server.port}", seconds=0.1, rounds=1)


def test_the_processes_of_a_server_are_found_by_its_port(server: Running) -> None:
    assert server.processes is not None
    assert listening_on(server.port) == server.processes.all()[0].pid
    assert len(server.processes.all()) > 1  # the model's own process too
    assert server.processes.memory() > 50e6


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


def test_a_server_that_does_not_start_is_shown_with_what_it_wrote(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=r"ait did not start:\s.*does not exist"),
        started(SYSTEMS["ait"], tmp_path / "nowhere", "cpu"),
    ):
        pass


def test_nobody_answers_at_the_url() -> None:
    with pytest.raises(ServerError, match="ait serve"):
        benchmark_service("test_vit", url="http://127.0.0.1:9", seconds=0.1, rounds=1)


def test_a_missing_package_comes_with_its_remedy() -> None:
    with pytest.raises(ServerError, match=r"associative-transformer\[bench\]"):
        check_installed(System("other", "m", "/", "/", needs="no_such_package"))


def test_pictures_are_spread_over_a_folder_and_checked(photos: Path, tmp_path: Path) -> None:
    assert len(read_pictures(photos)) == 3
    with pytest.raises(PicturesError, match=r"no \.jpg"):
        read_pictures(tmp_path)
    (tmp_path / "torn.jpg").write_bytes(encode(scene(), "JPEG")[:200])
    with pytest.raises(PicturesError, match=r"torn\.jpg.*Take it out"):
        read_pictures(tmp_path)


def test_made_pictures_are_all_different_and_of_the_size_asked_for() -> None:
    pictures = make_pictures(30, 20)
    assert len(set(pictures)) == len(pictures)
    assert {decode(each, ImageLimits()).size for each in pictures} == {(30, 20)}
    assert make_pictures(30, 20) == pictures


def test_a_summary_takes_the_median_of_ratios_not_the_ratio_of_medians() -> None:
    def one(raw_rate: float, rate: float, p99: float) -> Round:
        return Round(raw_rate, 0.1, 0.01, 0.02, rate, 0.015, 0.8 * rate, 0.02, p99, 0.03, 0.1, 0.0, {"429": 1})

    result = ServerResult("ait", [one(100, 90, 0.1), one(10, 8, 0.4), one(50, 48, 0.2)])
    summary = result.summary
    assert summary.throughput == pytest.approx(0.9)
    assert summary.p99_batches == pytest.approx(2.0)
    assert summary.added == pytest.approx(0.005)
    assert summary.failures == {"429": 3}
    memory = MemoryGrowth([(10_000, 1000), (20_000, 1040)], {})
    whole = ServiceBenchmark("m", "3 made ones", 2, Way(8, False), 64, [result], memory)
    assert memory.growth == pytest.approx(1.04)
    assert json.loads(json.dumps(whole.to_dict()))["servers"][0]["summary"]["rate"] == 48
