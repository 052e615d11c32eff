"""A listener that is closed resets nobody: who is connected is accepted, who comes later finds the port closed."""

from __future__ import annotations

import errno
import select
import socket
import threading

from service.server.listener import accept_waiting, refuse_new
from tests.support.processes.waiting import CEILING


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=64)


def test_who_has_connected_is_accepted_and_who_comes_later_is_refused() -> None:
    with listening() as listener, socket.create_connection(listener.getsockname(), CEILING) as early:
        refuse_new(listener)
        late = socket.socket()
        late.setblocking(False)
        assert late.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        (accepted,) = accept_waiting(listener)
        listener.close()
        with accepted:
            early.sendall(b"question")
            assert accepted.recv(8) == b"question"
            accepted.sendall(b"answer")
            assert early.recv(6) == b"answer"
        with late:
            assert select.select([], [late], [], CEILING)[1]
            assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def connect_until_refused(address: tuple[str, int], started: threading.Barrier, answered: list[bytes]) -> None:
    """Connect again and again, and note what each connection was told: nothing is the end of one."""
    started.wait(CEILING)
    while True:
        try:
            with socket.create_connection(address, CEILING) as client:
                answered.append(client.recv(1))
        except ConnectionRefusedError:
            return


def test_nobody_is_reset_by_a_listener_that_is_closed_while_clients_connect() -> None:
    for _ in range(3):
        listener = listening()
        started, answered = threading.Barrier(4), list[bytes]()
        given = listener.getsockname(), started, answered
        clients = [threading.Thread(target=connect_until_refused, args=given) for _ in range(3)]
        for client in clients:
            client.start()
        started.wait(CEILING)
        listener.accept()[0].sendall(b"a")
        refuse_new(listener)
        for connection in accept_waiting(listener):
            connection.sendall(b"a")
            connection.close()
        listener.close()
        for client in clients:
            client.join(CEILING)
            assert not client.is_alive()
        assert set(answered) == {b"a"}
