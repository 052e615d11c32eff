"""`ait bench service` against a real server in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app
from service.benchmark.benchmark import benchmark_service
from service.benchmark.processes import listening_on
from service.benchmark.systems import SYSTEMS, Running, ServerError, started


@pytest.fixture(scope="module")
def server(model_folder: Path) -> Iterator[Running]:
    with started(SYSTEMS["ait"], model_folder, "cpu") as running:
        yield running


def test_the_command_measures_a_running_service(
    server: Running, model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    url = f"http://{server.host}:{server.port}"
    command = ["bench", "service", str(model_folder), "--url", url, "--images", str(photos), "--rounds", "2"]
    outcome = CliRunner().invoke(
        app, [*command, "--seconds", "1", "--connections", "4", "--soak", "60", "-o", str(report)]
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


def test_nobody_answers_at_the_url() -> None:
    with pytest.raises(ServerError, match="ait serve"):
        benchmark_service("test_vit", url="http://127.0.0.1:9", seconds=0.1, rounds=1)
