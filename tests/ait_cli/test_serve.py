"""The installed command serves from a process without torch."""

import re
from pathlib import Path

import httpx

from tests.support.command import AIT
from tests.support.running_server import running_server
from tests.support.waiting import CEILING

MOST_KILOBYTES = 150_000


def test_the_front_process_is_small_and_maps_no_torch() -> None:
    with running_server(command=[AIT, "serve"], OMP_NUM_THREADS="2") as (url, pid):
        assert httpx.get(f"{url}/health/ready", timeout=CEILING).status_code == 200
        process = Path(f"/proc/{pid}")
        assert "libtorch" not in (process / "maps").read_text()
        resident = re.search(r"^VmRSS:\s*(\d+) kB$", (process / "status").read_text(), re.MULTILINE)
        assert resident
        assert int(resident[1]) <= MOST_KILOBYTES
