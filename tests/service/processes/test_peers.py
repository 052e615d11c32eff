"""Questions between the processes of a server."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from service.errors import ModelNotFound
from service.processes.peers import Contact, PeerAddress, Peers, contact
from tests.support.processes.waiting import CEILING


def test_all_others_are_asked_and_what_they_raise_is_raised(tmp_path: Path) -> None:
    async def double(number: int) -> int:
        return 2 * number

    async def fail() -> None:
        raise ModelNotFound("There is no such model.")

    async def ask() -> None:
        addresses = [PeerAddress(tmp_path, number, 3) for number in range(3)]
        asking, *answering = [Peers(address) for address in addresses]
        for peers in answering:
            await peers.listen({"double": double, "fail": fail})
        assert await asking.ask("double", number=3) == [6, 6]
        with pytest.raises(ModelNotFound, match="no such model"):
            await asking.ask("fail")
        await answering[0].close()
        assert await asking.ask("double", number=4) == [8]
        await answering[1].close()

    asyncio.run(ask())


def test_one_that_ends_while_it_answers_is_left_out(tmp_path: Path) -> None:
    async def ask() -> None:
        addresses = [PeerAddress(tmp_path, number, 3) for number in range(3)]

        async def answer_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b'{"answer": [1, 2')
            writer.close()

        async def number() -> int:
            return 7

        whole = Peers(addresses[1])
        await whole.listen({"number": number})
        async with await asyncio.start_unix_server(answer_half, addresses[2].socket):
            assert await Peers(addresses[0]).ask("number") == [7]
        await whole.close()

    asyncio.run(ask())


def test_a_question_on_its_way_is_no_error_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> None:
        address = PeerAddress(tmp_path, 0, 2)
        answered = asyncio.Event()

        async def ponder() -> None:
            answered.set()
            await asyncio.Event().wait()

        await Peers(address).listen({"ponder": ponder})
        _, half = await asyncio.open_unix_connection(address.socket)
        half.write(b'{"question"')
        asking = asyncio.create_task(Peers(PeerAddress(tmp_path, 1, 2)).ask("ponder"))
        await answered.wait()
        asking.cancel()

    asyncio.run(ask())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_who_answers_who_is_absent_and_who_is_silent(tmp_path: Path) -> None:
    async def ask() -> None:
        address = PeerAddress(tmp_path, 0, 2)
        assert await contact(address, CEILING) is Contact.ABSENT
        peers = Peers(address)
        await peers.listen({})
        assert await contact(address, CEILING) is Contact.ANSWERED
        await peers.close()
        assert await contact(address, CEILING) is Contact.ABSENT
        with socket.socket(socket.AF_UNIX) as hung:
            hung.bind(str(address.socket))
            hung.listen()
            assert await contact(address, 0.05) is Contact.SILENT
        assert await contact(address, CEILING) is Contact.ABSENT  # its socket is there, and nobody behind it

    asyncio.run(ask())
