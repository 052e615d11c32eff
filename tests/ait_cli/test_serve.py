"""The installed command serves from a process without torch."""

import os
import re
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import service.server.run
from ait_cli.main import app
from tests.support.processes.command import AIT
from tests.support.processes.waiting import CEILING
from tests.support.servers.running_server import running_server

MOST_KILOBYTES = 150_000


def test_the_front_process_is_small_and_maps_no_torch() -> None:
    with running_server(command=[AIT, "serve"], OMP_NUM_THREADS="2") as (url, pid):
        assert httpx.get(f"{url}/health/ready", timeout=CEILING).status_code == 200
        process = Path(f"/proc/{pid}")
        assert "libtorch" not in (process / "maps").read_text()
        resident = re.search(r"^VmRSS:\s*(\d+) kB$", (process / "status").read_text(), re.MULTILINE)
        assert resident
        assert int(resident[1]) <= MOST_KILOBYTES


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("4", "4")])
def test_small_products_take_no_threads_from_the_models(
    monkeypatch: pytest.MonkeyPatch, given: str | None, used: str
) -> None:
    name, seen = "OPENBLAS_NUM_THREADS", []
    monkeypatch.setenv(name, given or "")  # so that it is as it was in the end
    if given is None:
        monkeypatch.delenv(name)
    monkeypatch.setattr(service.server.run, "serve", lambda *_: seen.append(os.environ[name]) or 0)
    assert CliRunner().invoke(app, ["serve"]).exit_code == 0
    assert seen == [used]


def test_a_second_model_is_not_passed_over() -> None:
    result = CliRunner().invoke(app, ["serve", "--model", "one", "--model", "two"])
    assert result.exit_code == 1
    assert "--models" in result.stderr
