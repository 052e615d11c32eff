"""The load generator: counts every request once, and lets no stall of a server go unseen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from service.benchmark import client
from service.benchmark.client import Load, Target, ask, closed_loop, make_request, open_loop
from tests.support.virtual.server import Handler as VirtualHandler
from tests.support.virtual.server import VirtualServerLoop
from tests.support.virtual.time import run

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


def test_a_closed_loop_sends_as_many_as_it_is_told_and_takes_the_images_in_turn() -> None:
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


# ---- in virtual time, in which the server takes exactly as long as it is told ----


def drive(handler: VirtualHandler, load: Callable[[Target, VirtualServerLoop], Coroutine[Any, Any, Load]]) -> Load:
    """Drive a load at a server that `handler` stands for; neither takes any time."""

    async def work() -> Load:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualServerLoop)
        return await load(Target("server", 80, [make_request("/p", b"%d" % n, "server") for n in range(3)]), loop)

    return run(work(), lambda: VirtualServerLoop(handler))


def within_ten_milliseconds(body: bytes, now: float) -> tuple[float, bytes]:
    return now + 0.01, answer(b"")


def test_a_closed_loop_ends_with_its_time() -> None:
    observed: list[float] = []
    load = drive(
        within_ten_milliseconds,
        lambda target, loop: closed_loop(
            target, 2, seconds=0.11, lead=0.105, observe=lambda: observed.append(loop.time()), clock=loop.time
        ),
    )
    assert observed == pytest.approx([0.105, 0.215])  # what came before does not count
    assert load.seconds == pytest.approx(0.11)
    assert load.failures == {}
    assert load.latencies == pytest.approx([0.01] * 22)  # at 0.11, 0.12, ... 0.21 on both connections
    assert load.rate == pytest.approx(22 / 0.11)


def test_a_client_that_is_held_up_counts_as_long_as_it_is_told_all_the_same() -> None:
    held_up = False

    def handler(body: bytes, now: float) -> tuple[float, bytes]:
        nonlocal held_up
        if not held_up:
            held_up = True
            asyncio.get_running_loop().advance(0.3)  # type: ignore[attr-defined]
        return within_ten_milliseconds(body, now)

    load = drive(handler, lambda target, loop: closed_loop(target, 2, seconds=0.1, lead=0.1, clock=loop.time))
    assert load.seconds == pytest.approx(0.1)
    assert len(load.latencies) >= 18


def test_an_open_loop_sends_the_same_random_times_again() -> None:
    def times(seed: int) -> list[float]:
        came: list[float] = []

        def handler(body: bytes, now: float) -> tuple[float, bytes]:
            came.append(now)
            return within_ten_milliseconds(body, now)

        load = drive(handler, lambda target, loop: open_loop(target, 400, seconds=2.0, seed=seed, clock=loop.time))
        assert load.failures == {}
        assert len(load.latencies) == len(came)
        return came

    first, again, other = times(1), times(1), times(2)
    assert first == again != other
    assert 700 < len(first) < 900  # 800 on average, with a deviation of 28
    assert max(first) < 2.002  # event loops count milliseconds, and so do requests


def test_a_stall_is_felt_by_all_requests_that_were_due_in_it() -> None:
    """A client that waited for the answer before it sent the next request would see one slow answer."""

    def handler(body: bytes, now: float) -> tuple[float, bytes]:
        return max(now, 0.3) + 0.001, answer(b"")  # nothing is answered before

    load = drive(handler, lambda target, loop: open_loop(target, 200, seconds=0.4, connections=4, clock=loop.time))
    stalled = np.count_nonzero(load.latencies > 0.1)  # those that were due in the first 0.2 s
    assert 20 < stalled < 60  # 40 on average, with a deviation of 6
    assert max(load.latencies) == pytest.approx(0.3, abs=0.05)
    assert load.failures == {}


def test_a_client_does_not_interrupt_the_server() -> None:
    async def policy() -> int:
        return os.sched_getscheduler(0)

    before = os.sched_getscheduler(0)
    assert client.run(policy()) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == before
