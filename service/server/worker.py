"""Run one of several server processes behind a port: what the supervisor starts."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from service.observability.logs import configure_logging
from service.processes.peers import PeerAddress
from service.server.run import run
from service.server.shared_folder import hold
from service.settings import Settings


def main(control: socket.socket, listener: socket.socket) -> int:
    """Serve on the listener as the first line from the control socket says, until SIGTERM or that is closed.

    Returns:
        Exit code, as `service.server.run.run`.
    """
    with control, control.makefile("rw") as lines:
        order: dict[str, Any] = json.loads(lines.readline())
        settings = Settings(_env_file=None, **order["settings"])  # type: ignore[call-arg]
        configure_logging(settings.log_format)
        address = PeerAddress(Path(order["folder"]), order["number"], order["count"])
        hold(address.folder)
        threading.Thread(target=_end_with, args=(control,), name="supervisor", daemon=True).start()

        def say_ready(name: str) -> None:
            lines.write(json.dumps({"serving": name}) + "\n")
            lines.flush()

        return run(settings, listener, say_ready, address=address, load_first=order["load_first"])


def _end_with(control: socket.socket) -> None:
    """Stop this process when the supervisor has gone, however it went."""
    while control.recv(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
