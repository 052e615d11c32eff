"""A watcher in every Python process of a server that notes whom it asks over the network.

The folder of `watched` on PYTHONPATH has Python report, by audit events, what it is about to connect to, to resolve or
to send to. What a library does without Python is not seen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

_CODE: Final = """
import json, os, sys

EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
          "socket.gethostbyaddr", "socket.getnameinfo")
LOOPBACK = ("127.", "::1", "localhost")


def note(event, *told):
    line = json.dumps([os.getpid(), event, *map(str, told)]) + "\\n"
    descriptor = os.open(os.environ["TEST_NETWORK"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def watch(event, arguments):
    if event not in EVENTS:
        return
    asked = arguments[1] if event in EVENTS[:3] else arguments[0]
    host = asked[0] if isinstance(asked, tuple) else asked
    # Else it is the path of a Unix socket, or none: it was connected before.
    if isinstance(asked, tuple) or event not in EVENTS[:3]:
        if not str(host).startswith(LOOPBACK):
            note(event, host)


note("watched", *sys.orig_argv)
os.register_at_fork(after_in_child=lambda: note("watched", "fork"))
sys.addaudithook(watch)
"""


def watched(folder: Path) -> dict[str, str]:
    """Return the environment of a program that is watched.

    Args:
        folder: Gets the code that does this, and the notes.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_CODE)
    return {"PYTHONPATH": str(folder), "TEST_NETWORK": str(folder / "notes")}


def read_notes(folder: Path) -> tuple[set[int], list[list[str]]]:
    """Return the ids of the processes that were watched, and whom they asked beyond this machine."""
    notes = [json.loads(line) for line in (folder / "notes").read_text().splitlines()]
    return {each[0] for each in notes if each[1] == "watched"}, [each[1:] for each in notes if each[1] != "watched"]
