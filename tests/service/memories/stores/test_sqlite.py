"""The file of a SQLite store: made late, found by other processes, and empty of what was forgotten."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.errors import MemoryNotFound, StoreUnavailable
from service.memories.answering.index import MemoryIndex
from service.memories.records import Claim, Lesson, Options, Selection
from service.memories.stores.schema import MIGRATIONS
from service.memories.stores.sqlite import SqliteStore
from tests.support.stress.memory_histories import BINDING, QUOTAS, lesson, taught

SECRET = b"an image that nobody may ever find again" * 200


def files(folder: Path) -> bytes:
    """All bytes of all files of a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_reading_makes_no_file_and_writing_one_that_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "memories.sqlite3"
    store = SqliteStore(path)
    assert store.memories() == []
    assert store.erased()
    with pytest.raises(MemoryNotFound):
        store.memory("pets")
    before = store.token()
    assert not path.exists()
    taught(store, lesson("a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.token() != before
    store.close()


@pytest.mark.parametrize("way", ["id", "label", "source", "replaced", "deleted"])
def test_nothing_of_a_forgotten_example_is_in_any_file(tmp_path: Path, way: str) -> None:
    store = SqliteStore(tmp_path / "memories.sqlite3")
    taught(store, *(lesson(f"other{number}", "dog", thumbnail=bytes([number]) * 3000) for number in range(40)))
    secret = lesson("secret", "cat", source="camera", thumbnail=SECRET[:500], image=SECRET)
    store.teach(store.memory("pets"), [secret], QUOTAS)
    assert SECRET[:400] in files(tmp_path)
    assert secret.key in files(tmp_path)
    if way == "deleted":
        store.delete("pets")
    elif way == "replaced":
        store.teach(store.memory("pets"), [lesson("secret", "cat", seed=1)], QUOTAS)
    else:
        store.forget("pets", Selection(**{way: {"id": "secret", "label": "cat", "source": "camera"}[way]}))
    found = files(tmp_path)
    assert SECRET[:60] not in found
    assert secret.key not in found
    assert store.erased()
    store.close()


def test_nothing_is_left_however_pages_were_filled_and_merged(tmp_path: Path) -> None:
    store = taught(SqliteStore(tmp_path / "memories.sqlite3"))
    rng = np.random.default_rng(0)
    stored: dict[str, Lesson] = {}
    forgotten: list[Lesson] = []
    for number in range(400):
        size = int(rng.choice([30, 300, 900, 3000, 9000]))
        new = lesson(f"e{rng.integers(150)}", "cat", seed=number, thumbnail=rng.bytes(size))
        store.teach(store.memory("pets"), [new], QUOTAS)
        forgotten += [stored[new.id]] if new.id in stored else []
        stored[new.id] = new
        if number % 3 == 0:
            gone = stored.pop(str(rng.choice(sorted(stored))))
            store.forget("pets", Selection(id=gone.id))
            forgotten.append(gone)
    assert len(forgotten) > 150
    assert store.erased()
    found = files(tmp_path)
    for each in stored.values():
        assert each.key in found
    for each in forgotten:
        assert each.key not in found
        assert each.thumbnail is not None
        for part in range(0, len(each.thumbnail) - 16, 16):
            assert each.thumbnail[part : part + 16] not in found
    store.close()


def test_erasing_waits_for_a_reader_and_says_so_when_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.memories.stores.sqlite.BUSY_SECONDS", 0.05)
    path = tmp_path / "memories.sqlite3"
    store = SqliteStore(path)
    taught(store, lesson("a"), lesson("b"))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM examples").fetchall()
    with pytest.raises(StoreUnavailable, match="erased once that reader is done"):
        store.forget("pets", Selection(id="a"))
    assert store.memory("pets").examples == 1  # it is forgotten, if not erased
    reader.close()
    assert store.erased()
    store.close()


def test_another_process_sees_a_write_by_its_token(tmp_path: Path) -> None:
    path = tmp_path / "memories.sqlite3"
    store = taught(SqliteStore(path), lesson("a"))
    index = MemoryIndex(store, "pets")
    with index.state() as state:
        assert state.content.ids() == ["a"]
    before = store.token()
    script = (
        "import sys; from pathlib import Path; from service.memories.stores.sqlite import SqliteStore;"
        "from tests.support.stress.memory_histories import QUOTAS, lesson;"
        "store = SqliteStore(Path(sys.argv[1])); store.teach(store.memory('pets'), [lesson('b')], QUOTAS)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=Path(__file__).parents[4])
    assert store.token() != before
    with index.state() as state:
        assert state.content.ids() == ["a", "b"]
    store.close()


def test_a_store_of_an_older_server_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "memories.sqlite3"
    store = taught(SqliteStore(path), lesson("a"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE answers")
        connection.execute(MIGRATIONS[0][-1].format(real="REAL"))
        connection.execute("INSERT INTO answers SELECT number, 'k', 'd', 'of a forgotten example', 0 FROM memories")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = SqliteStore(path)
    assert store.memory("pets").examples == 1
    assert store.claim_answer(Claim("pets", "k", "d", "t")) is None
    assert store.erased()
    assert b"of a forgotten example" not in files(tmp_path)
    store.close()


def test_a_store_of_a_newer_server_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memories.sqlite3"
    store = taught(SqliteStore(path), lesson("a"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreUnavailable, match="Upgrade"):
        SqliteStore(path).memories()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path / "file" / "memories.sqlite3").create("pets", Options(), BINDING, QUOTAS)
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path / "text").memories()


def test_several_processes_forget_at_the_same_time(tmp_path: Path) -> None:
    """Each waits for the others to empty the log, in place of saying that it could not be emptied."""
    path = tmp_path / "memories.sqlite3"
    stores = [SqliteStore(path) for _ in range(3)]  # with connections of their own, as processes have
    taught(stores[0], *(lesson(f"{number}-{each}") for number in range(3) for each in range(10)))

    def forget(number: int) -> None:
        for each in range(10):
            stores[number].forget("pets", Selection(id=f"{number}-{each}"))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(forget, range(3)))
    assert stores[0].memory("pets").examples == 0
    for store in stores:
        store.close()
