"""What the processes of a server know of each other's models."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.models import idleness
from service.models.registry import Models
from service.models.replication import ModelReplication
from service.processes.peers import PeerAddress, Peers
from service.settings import Settings


def test_all_others_must_be_there_and_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idleness, "IDLE_SECONDS", 0.0)

    async def ask() -> None:
        models = [Models(Settings(_env_file=None)) for _ in range(3)]
        peers = [Peers(PeerAddress(tmp_path, number, 3)) for number in range(3)]
        first, second, third = map(ModelReplication, models, peers)
        await peers[1].listen({"idle": second.here_idle})
        with models[1].idleness.loading():
            pass
        assert not await first.others_idle()  # the third has not been started yet
        await peers[2].listen({"idle": third.here_idle})
        assert not await first.others_idle()  # it has loaded nothing yet
        with models[2].idleness.loading():
            assert not await first.others_idle()
        assert await first.others_idle()
        for each in peers:
            await each.close()

    asyncio.run(ask())


def test_a_process_without_others_need_not_wait_for_them() -> None:
    async def ask() -> None:
        assert await ModelReplication(Models(Settings(_env_file=None)), Peers()).others_idle()

    asyncio.run(ask())
