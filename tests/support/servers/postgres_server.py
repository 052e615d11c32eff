"""A PostgreSQL server in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Where Debian puts them, the newest version first; elsewhere they are on the path.
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs: the address of a database, and the folder of its files."""

    url: str
    data: Path


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server that listens on a Unix socket alone; it is stopped on leaving.

    Raises:
        RuntimeError: PostgreSQL is not installed.
    """
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="ait-postgres-"))
    data = folder / "data"
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        user = next(name for name in ("postgres", "nobody") if name in {each.pw_name for each in pwd.getpwall()})
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        as_user = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    try:
        _run(*as_user, initdb, "-D", data, "-U", "ait", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=50"
        _run(*as_user, pg_ctl, "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            yield PostgresServer(f"postgresql:///postgres?host={folder}&user=ait", data)
        finally:
            _run(*as_user, pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([*map(str, _FOLDERS), os.environ.get("PATH", "")]))
    if found is None:
        raise RuntimeError(f"{name} is missing: install PostgreSQL 14 or newer (apt-get install postgresql).")
    return found


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
