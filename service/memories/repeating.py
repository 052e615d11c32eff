"""Do what a request asks for once, however often it is sent."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service.errors import StoreUnavailable
from service.memories.access import MemoryAccess
from service.memories.records import Claim
from service.memories.stores.store import CLAIM_SECONDS


class Once:
    """A request with an idempotency key.

    Attributes:
        before: The answer that it got before; None if it is to be answered now.
        answer: What to keep as its answer, once that is known.
    """

    def __init__(self, before: str | None) -> None:
        """Take the answer that it got before."""
        self.before = before
        self.answer: str | None = None


class Repeating(MemoryAccess):
    """Remembers answers."""

    @asynccontextmanager
    async def once(self, name: str, key: str, request: bytes) -> AsyncIterator[Once]:
        """Answer a request with an idempotency key, while no other process and no other request does so.

        The answer is kept when the context is left. If it is left by an exception, the next request begins anew.

        Args:
            name: Of the memory.
            key: The idempotency key.
            request: What the key must always come with.

        Raises:
            MemoryNotFound: There is no such memory.
            MemoryConflict: The key came with another request.
            RequestUnderWay: The request came before, and is still being answered.
        """
        # Without the key, what is stored does not even tell somebody who has the images whether they were sent.
        digest = hmac.new(key.encode(), request, hashlib.sha256).hexdigest()
        claim = Claim(name, hashlib.sha256(key.encode()).hexdigest(), digest, uuid.uuid4().hex)
        once = Once(await self.run(self.store.claim_answer, claim))
        if once.before is not None:
            yield once
            return
        renewing = asyncio.create_task(self._renew(claim))
        try:
            yield once
        except BaseException:
            with suppress(StoreUnavailable):  # it expires by itself
                await self.run(self.store.drop_claim, claim)
            raise
        else:
            assert once.answer is not None
            await self.run(self.store.keep_answer, claim, once.answer)
        finally:
            renewing.cancel()

    async def _renew(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 3)
            with suppress(StoreUnavailable):  # there is time for another try
                await self.run(self.store.renew_claim, claim)
