"""The load generator: counts every request once, and lets no stall of a server go unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from service.benchmark import client
from service.benchmark.client import Load, Target, ask, closed_loop, make_request, open_loop

Handler = Callable[[bytes], bytes | None]


async def serve(handler: Handler, load: Callable[[Target], object], bodies: int = 3) -> object:
    """What a load finds at a server that answers each body with what `handler` says; None closes the connection."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                answer = handler(await reader.readexactly(length))
                if answer is None:
                    return
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1")
    host, port = server.sockets[0].getsockname()
    async with server:
        return await load(Target(host, port, [make_request("/p", b"%d" % n, host) for n in range(bodies)]))  # type: ignore[misc]


def answer(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def test_each_request_is_asked_once_in_its_order() -> None:
    found = client.run(serve(lambda body: answer(b"<" + body + b">"), ask))
    assert found == [(200, b"<0>"), (200, b"<1>"), (200, b"<2>")]


def test_asking_a_server_that_hangs_up_says_so() -> None:
    with pytest.raises(ConnectionError):
        client.run(serve(lambda body: None, ask))


def test_an_answer_in_chunks_is_one_answer() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    assert client.run(serve(lambda body: chunked, ask, bodies=1)) == [(200, b"abc")]


def test_a_closed_loop_sends_as_many_as_it_is_told_and_takes_the_pictures_in_turn() -> None:
    seen: list[bytes] = []

    def handler(body: bytes) -> bytes:
        seen.append(body)
        return answer(b"")

    load = client.run(serve(handler, lambda target: closed_loop(target, 4, requests=31)))
    assert isinstance(load, Load)
    assert (len(load.latencies), load.failures) == (31, {})
    assert sorted(seen.count(b"%d" % n) for n in range(3)) == [10, 10, 11]


def test_refusals_are_counted_and_are_no_throughput() -> None:
    load = client.run(
        serve(
            lambda body: answer(b"", 429 if body == b"1" else 200), lambda target: closed_loop(target, 2, requests=30)
        )
    )
    assert isinstance(load, Load)
    assert (len(load.latencies), load.failures) == (20, {"429": 10})


def test_lost_connections_are_counted_and_do_not_hang() -> None:
    for drive in (lambda t: closed_loop(t, 3, requests=9), lambda t: open_loop(t, 100, seconds=0.05, connections=3)):
        load = client.run(serve(lambda body: None, drive))
        assert isinstance(load, Load)
        assert len(load.latencies) == 0
        assert load.failures["lost"] > 0
        assert load.percentile(99) == float("inf")


def test_a_closed_loop_ends_with_its_time() -> None:
    seen: list[int] = []
    count = iter(range(10**6))

    def handler(body: bytes) -> bytes:
        next(count)
        return answer(b"")

    def drive(target: Target) -> object:
        return closed_loop(target, 2, seconds=0.1, lead=0.1, observe=lambda: seen.append(next(count)))

    load = client.run(serve(handler, drive))
    assert isinstance(load, Load)
    first, last = seen
    assert first > 0  # what came before does not count
    assert len(load.latencies) == pytest.approx(last - first, abs=4)
    assert load.seconds >= 0.099  # event loops round their times
    assert load.rate == len(load.latencies) / load.seconds


def test_an_open_loop_sends_the_same_random_times_again() -> None:
    async def count(seed: int) -> int:
        load = await serve(lambda body: answer(b""), lambda target: open_loop(target, 400, seconds=0.2, seed=seed))
        assert isinstance(load, Load)
        assert load.failures == {}
        return len(load.latencies)

    first, again, other = (client.run(count(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert 40 < first < 140  # 80 on average, with a deviation of 9


def test_a_stall_is_felt_by_all_requests_that_were_due_in_it() -> None:
    """A client that waited for the answer before it sent the next request would see one slow answer."""
    import time

    stalled = []

    def handler(body: bytes) -> bytes:
        if not stalled:
            stalled.append(True)
            time.sleep(0.3)  # holds up the whole server
        return answer(b"")

    async def drive(target: Target) -> Load:
        return await asyncio.to_thread(client.run, open_loop(target, 200, seconds=0.4, connections=4))

    load = client.run(serve(handler, drive))
    assert isinstance(load, Load)
    assert len(load.latencies) > 40
    assert np.count_nonzero(load.latencies > 0.1) > 15  # of those due in the first 0.2 s, 40 on average
