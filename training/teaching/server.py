"""A server that keeps memories of classes, asked over HTTP."""

import json
import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from training.errors import DataError

KEY: Final = "AIT_KEY"  # the variable with the API key
_SECONDS: Final = 120
_PATIENCE: Final = 30  # seconds to wait for a busy server in all; one that names more is full, not busy
_MOST_LOST: Final = 3
# The last one, with Retry-After, of a request whose first answer was lost and is still being made.
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.CONFLICT)


class Server:
    """A server. What it refuses is a `DataError` with its own words.

    A server that is busy (429, 503; 409 with Retry-After: with the same request) is asked again when its Retry-After
    says, up to half a minute in all.

    Args:
        url: Where it is, such as http://localhost:8000.
        key: API key; None takes that of the variable AIT_KEY, if there is one.
        sleep: Waits for so many seconds.
    """

    def __init__(self, url: str, key: str | None = None, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._root = url.rstrip("/")
        self._key = key or os.environ.get(KEY)
        self._sleep = sleep

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Ask, as `send` does, for an object of JSON."""
        answer: dict[str, Any] = json.loads(self.send(method, path, **options)[1])
        return answer

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> tuple[int, bytes]:
        """Ask the server; return the status and the body of its answer.

        Args:
            method: Of HTTP.
            path: With the query.
            body: What is sent.
            content_type: Of the body.
            headers: Further headers.
            once: The request must count once however often it is sent: it gets an Idempotency-Key, and is sent again
                where the connection is lost before the answer.

        Raises:
            DataError: The server refuses, or does not answer.
        """
        sent = {"Content-Type": content_type, **(headers or {})}
        if self._key:
            sent["Authorization"] = f"Bearer {self._key}"
        if once:
            sent["Idempotency-Key"] = os.urandom(16).hex()
        waited, lost = 0, 0
        while True:
            try:
                request = Request(self._root + path, data=body, headers=sent, method=method)
                with urlopen(request, timeout=_SECONDS) as answer:
                    return answer.status, answer.read()
            except HTTPError as error:
                pause = _retry_after(error)
                if pause is None or error.code not in _BUSY or waited + pause > _PATIENCE:
                    raise DataError(_detail(error)) from None
            except (HTTPException, OSError, ValueError) as error:
                reason = getattr(error, "reason", error)
                pause, lost = 1, lost + 1
                if not (once and _is_loss(reason) and lost <= _MOST_LOST):
                    raise DataError(self._unanswered(reason)) from None
            self._sleep(pause)
            waited += pause

    def _unanswered(self, reason: object) -> str:
        if not self._root.startswith(("http://", "https://")):
            return f"{self._root} is no address of a server: begin with http:// or https://"
        return f"{self._root} does not answer: {reason}. Is a server running there?"


def _is_loss(reason: object) -> bool:
    return isinstance(reason, (ConnectionResetError, BrokenPipeError, IncompleteRead))


def _retry_after(error: HTTPError) -> int | None:
    """Read the seconds after which to ask again, at least 1; None where that would not help.

    A busy server's date, which AiT does not send, and its silence count as 1.
    """
    said = error.headers.get("Retry-After", "")
    if not said and error.code == HTTPStatus.CONFLICT:
        return None
    return max(1, int(said)) if said.isascii() and said.isdigit() else 1


def _detail(error: HTTPError) -> str:
    try:
        detail = json.loads(error.read())["detail"]
    except (HTTPException, OSError, ValueError, KeyError, TypeError):
        return f"the server answered with status {error.code}"
    return f"{detail} ({KEY} may hold a key)" if error.code == HTTPStatus.UNAUTHORIZED else str(detail)
