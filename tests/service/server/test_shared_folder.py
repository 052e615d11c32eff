"""The folder that the processes of a server share, and those that dead servers have left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.server.shared_folder import NoFolder, hold, remove_abandoned, shared_folder
from tests.support.processes.waiting import CEILING

KEEPER = (
    "from service.server.shared_folder import *\nwith shared_folder() as folder: print(folder, flush=True); input()"
)


@pytest.fixture(autouse=True)
def place(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    return short_path


def keeper(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another server, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPER],
        env=os.environ | {"TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_it_is_there_for_as_long_as_the_server(place: Path) -> None:
    with shared_folder() as folder:
        assert folder.parent == place
        assert (folder / "metrics").is_dir()
        remove_abandoned(place)
        assert folder.is_dir()
    assert not list(place.iterdir())


def test_only_what_dead_servers_have_left_is_removed(place: Path) -> None:
    others = [place / "ait-tool", place / "elsewhere"]
    for path in others:
        path.mkdir()
    link = place / "ait-server-link"
    link.symlink_to(others[1])
    living, kept = keeper(place)
    dead, left = keeper(place)
    (left / "0.sock").touch()
    dead.kill()
    dead.wait(CEILING)
    with shared_folder() as folder:
        assert set(place.iterdir()) == {*others, link, kept, folder}
    living.communicate("", CEILING)
    assert not kept.exists()


def test_it_stays_while_a_process_of_the_server_lives(place: Path) -> None:
    dead, left = keeper(place)
    lock = hold(left)  # as a process does whose supervisor was killed
    dead.kill()
    dead.wait(CEILING)
    remove_abandoned(place)
    assert left.is_dir()
    os.close(lock)
    remove_abandoned(place)
    assert not left.exists()


def test_a_place_whose_sockets_had_no_name_is_passed_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = place / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    with shared_folder() as folder:
        assert len(os.fsencode(folder / "255.sock")) <= 107
    assert not list(long.iterdir())


def test_no_place_at_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.server.shared_folder._places", lambda: [place / "missing"])
    with pytest.raises(NoFolder, match="TMPDIR"), shared_folder():
        pass
