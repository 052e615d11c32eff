"""Clients that keep a server busy."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support.images.service_images import encode, scene
from tests.support.processes.waiting import CEILING, wait_for

IMAGE = encode(scene())
LARGE = encode(scene(300, 200))  # goes through the pool


class Load:
    """Clients that send one request after the other until they are told to stop, or the port is closed.

    Attributes:
        answers: all that came, in the order in which they came.
        broken: the errors of requests that got no answer.
        refused: clients that found the port closed, and have ended.
    """

    def __init__(self, url: httpx.URL, clients: int = 4) -> None:
        self.answers: list[httpx.Response] = []
        self.broken: list[Exception] = []
        self.refused = 0
        self._url = url
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._done = [self._pool.submit(self._run, number) for number in range(clients)]

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=CEILING) as client:
            while not self._stop.is_set():
                try:
                    self.answers.append(client.post("/v1/classify", content=LARGE if number % 2 else IMAGE))
                except httpx.ConnectError:  # the port is closed
                    self.refused += 1
                    return
                except httpx.HTTPError as error:
                    self.broken.append(error)

    def __enter__(self) -> Load:
        wait_for(lambda: len(self.answers) >= 20, "20 answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for each in self._done:
            each.result()

    def statuses(self) -> list[int]:
        return [answer.status_code for answer in self.answers]
