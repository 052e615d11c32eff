"""Load and unload models in all processes of the server, and know when all are idle."""

from __future__ import annotations

from service.errors import ServiceError
from service.models.registry import Models
from service.processes.peers import Peers

ANSWER_SECONDS = 1.0  # that an idle process takes at most to say so


class ModelReplication:
    """Loading and unloading for the whole server. The methods `here_…` answer what another process asks."""

    def __init__(self, models: Models, peers: Peers) -> None:
        """Take the models of this process, and the other processes."""
        self._models, self._peers = models, peers

    async def load(self, name: str) -> None:
        """Load a model; on return it answers in all processes.

        Raises:
            ServiceError: As `Models.load`, of the first process where it fails.
        """
        await self._models.load(name)
        await self._peers.ask("load", name=name)

    async def unload(self, name: str) -> None:
        """Take a model out of service.

        Raises:
            ServiceError: As `Models.unload`, if no process has it.
        """
        missing = None
        try:
            await self._models.unload(name)
        except ServiceError as error:
            missing = error
        elsewhere = await self._peers.ask("unload", name=name)
        if missing and not any(elsewhere):
            raise missing
        self._models.leave_out(name)
        await self._peers.ask("leave_out", name=name)  # where it was just being loaded

    async def follow(self) -> None:
        """Leave out what the other processes have been told to leave out; for one that starts later."""
        for names in await self._peers.ask("left_out"):
            for name in names:
                self._models.leave_out(name)

    async def others_idle(self) -> bool:
        """Find out whether all other processes are idle; one that is not there will load models soon."""
        others = self._peers.address.others if self._peers.address else []
        answers = await self._peers.ask("idle", seconds=ANSWER_SECONDS)
        return len(answers) == len(others) and all(answers)

    async def here_load(self, name: str) -> None:
        """Load a model here."""
        await self._models.load(name)

    async def here_unload(self, name: str) -> bool:
        """Unload a model here; return whether it was loaded."""
        try:
            await self._models.unload(name)
        except ServiceError:
            return False
        return True

    async def here_leave_out(self, name: str) -> None:
        """Have a model that is not loaded here stay so."""
        self._models.leave_out(name)

    async def here_idle(self) -> bool:
        """Find out whether this process is idle."""
        return self._models.idleness.here

    async def here_left_out(self) -> list[str]:
        """List the models that are left out here."""
        return self._models.left_out
