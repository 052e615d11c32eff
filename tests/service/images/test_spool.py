"""Large requests are kept in a file that leaves nothing behind, or in memory where there is no place for one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from service.images import spool as spools
from service.images.spool import Spool, SpooledFile
from tests.support.servers.memories_client import zipped

DATA = np.random.default_rng(0).bytes(5000)


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(spools, "IN_MEMORY", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def spooled(*files: bytes, piece: int = 300) -> list[SpooledFile]:
    async def receive() -> list[SpooledFile]:
        spool = Spool()
        for number, data in enumerate(files):
            spool.begin(f"{number}.bin")
            for start in range(0, len(data), piece):
                spool.add(data[start : start + piece])
                await spool.settle()
        return spool.files()

    return asyncio.run(receive())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_files_are_read_as_they_were_sent(temporary: Path) -> None:
    sent = (DATA[:10], b"", DATA, DATA[:1500], DATA[:7])
    files = spooled(*sent)
    assert [file.filename for file in files] == [f"{number}.bin" for number in range(5)]
    assert [file.read() for file in files] == list(sent)
    assert files[2].sha256() == hashlib.sha256(DATA).hexdigest()
    assert files[2].startswith((b"no", DATA[:4]))
    assert not files[1].startswith((b"no",))
    assert list(temporary.iterdir()) == []  # nothing that a process killed now would leave
    with files[2].open() as file:
        assert file.seek(-10, os.SEEK_END) == 4990
        assert file.read() == DATA[-10:]
        assert (file.seek(0), file.read(3)) == (0, DATA[:3])
        with pytest.raises(OSError, match="before"):
            file.seek(-1)


def test_little_stays_in_memory_and_a_file_is_closed_with_what_is_read_from_it() -> None:
    before = open_files()
    (little,) = spooled(DATA[:900])
    assert open_files() == before
    (much,) = spooled(DATA)
    assert open_files() == before + 1
    assert (little.read(), much.read()) == (DATA[:900], DATA)
    del much
    assert open_files() == before


@pytest.mark.parametrize("fails", ["opening", "writing"])
def test_where_there_is_no_place_everything_stays_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    if fails == "opening":
        monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    else:
        monkeypatch.setattr(os, "pwrite", full)
    (file,) = spooled(DATA)
    assert file.read() == DATA
    assert len(caplog.records) == 1  # not once a piece


def test_archives_are_read_in_place() -> None:
    files = {f"{number}.bin": DATA[number:] for number in range(5)}
    before, archive = spooled(DATA, zipped(files))
    with zipfile.ZipFile(archive.open()) as opened:
        assert {name: opened.read(name) for name in reversed(opened.namelist())} == files
    assert before.read() == DATA
