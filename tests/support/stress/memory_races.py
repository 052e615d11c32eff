"""Many writers of the same memories against several server processes, of which one is killed now and then.

    python -m tests.support.stress.memory_races --writers 32 --seconds 600

starts a server of three processes and lets every writer do random steps, each on a connection of its own, which any
process may get. In one memory they teach, correct and forget examples of their own; in the other all count one number
up, each with `If-Match`. No acknowledged step may be lost, a stale `If-Match` must be refused, and whatever is read
must be true of one revision. A step whose answer did not come may have been done or not, but not by half.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.fuzz.sending import Answer, RawClient
from tests.support.models.small_checkpoints import save_small_checkpoint
from tests.support.processes.processes import children
from tests.support.servers.memories_client import COLOURS, coloured
from tests.support.servers.postgres_server import running_postgres
from tests.support.servers.running_server import running_server

OWN, COUNTER = "own", "counter"
_IMAGES = [coloured(label, number) for label in COLOURS for number in range(4)]
_BUSY = (429, 503)  # not done


class _NoAnswer(Exception):
    """The process was killed; whether the step was done is not known."""


@dataclass
class Race:
    """What all writers know, and what they found.

    Attributes:
        counts: Steps by kind, and how they ended.
        counted: Revision and number of each acknowledged count.
        digests: Digest of the first memory by revision.
        revision: The newest acknowledged revision of the counter.
        unknown: Counts whose answer did not come.
    """

    url: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    counted: list[tuple[int, int]] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)
    revision: int = 0
    unknown: int = 0

    def send(self, method: str, path: str, document: Any = None, **options: Any) -> Answer:
        """Ask on a connection of its own, again while the server is busy.

        Raises:
            _NoAnswer: The connection ended.
        """
        if document is not None:
            options["content"] = json.dumps(document).encode()
        while True:
            client = RawClient(self.url)
            try:
                answer = client.request(method, f"/v1/memories/{path}", **options)
            except OSError as error:
                raise _NoAnswer from error
            finally:
                client.close()
            if answer.status_code not in _BUSY:
                return answer
            time.sleep(0.01)  # a pause between attempts, on which nothing depends

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


class Writer:
    """One writer: does steps, and knows what must have become of its examples."""

    def __init__(self, race: Race, number: int, seed: int) -> None:
        self.race, self.rng = race, random.Random(f"{seed} {number}")
        self.ids = [f"w{number}-{each}" for each in range(3)]
        self.labels: dict[str, str] = {}  # of those of its examples that are there
        self._least = 0  # revision of the first memory that it has seen

    def step(self) -> None:
        """Do one random step."""
        what = self.rng.choice((self._write, self._write, self._count, self._stale, self._read, self._verify))
        what()
        self.race.count(what.__name__.lstrip("_"))

    def _write(self) -> None:
        """Teach, correct or forget an example of one's own."""
        identifier, label = self.rng.choice(self.ids), self.rng.choice(list(COLOURS))
        path = f"{OWN}/examples/{identifier}"
        after = {**self.labels, identifier: label}
        try:
            if identifier not in self.labels or self.rng.random() < 0.4:
                answer = self.race.send("PUT", f"{path}?label={label}", content=self.rng.choice(_IMAGES))
            elif self.rng.random() < 0.6:
                answer = self.race.send("PATCH", path, {"label": label})
            else:
                del after[identifier]
                answer = self.race.send("DELETE", path)
        except _NoAnswer:
            self.race.count("write without an answer")
            now = self._label_of(identifier)
            assert now in (self.labels.get(identifier), after.get(identifier)), (identifier, now, self.labels, after)
            self.labels = after if now == after.get(identifier) else self.labels
            return
        assert answer.status_code in (200, 201), (answer.status_code, answer.text)
        self.labels = after
        self._saw(answer.json()["revision"] if "revision" in answer.json() else _revision(answer))

    def _count(self) -> None:
        """Count up by one, unless somebody was faster."""
        try:
            revision = _revision(self._ask("GET", COUNTER))  # first: a later number brings a 412
            number = int(self._ask("GET", f"{COUNTER}/examples/n").json()["label"]) + 1
            answer = self.race.send(
                "PATCH", f"{COUNTER}/examples/n", {"label": str(number)}, headers={"If-Match": f'"{revision}"'}
            )
        except _NoAnswer:
            with self.race.lock:
                self.race.unknown += 1
            return
        if answer.status_code == 412:
            self.race.count("somebody was faster")
            return
        assert answer.status_code == 200, answer.text
        with self.race.lock:
            self.race.counted.append((_revision(answer), number))
            self.race.revision = max(self.race.revision, _revision(answer))

    def _stale(self) -> None:
        """Try to write what is known to be stale."""
        with self.race.lock:
            stale = self.race.revision - 1 - self.rng.randrange(3)
        headers = {"If-Match": f'"{stale}"'}
        try:
            answer = self.race.send("PATCH", f"{COUNTER}/examples/n", {"label": "-1"}, headers=headers)
        except _NoAnswer:
            return
        assert answer.status_code == 412, (stale, answer.status_code, answer.text)

    def _read(self) -> None:
        """Describe the memory: its parts fit together, and it is no older than what was seen."""
        try:
            described = self._ask("GET", OWN, headers={"Memory-Revision": str(self._least)}).json()
        except _NoAnswer:
            return
        assert described["examples"] == sum(described["labels"].values()), described
        assert described["revision"] >= self._least, (described["revision"], self._least)
        self._saw(described["revision"])
        for identifier in self.ids:
            try:
                found = self._label_of(identifier)
            except _NoAnswer:
                return
            assert found == self.labels.get(identifier), (identifier, found, self.labels)

    def _verify(self) -> None:
        """Any process that has a revision has it as all others have."""
        try:
            verified = self._ask("POST", f"{OWN}/verify").json()
        except _NoAnswer:
            return
        with self.race.lock:
            known = self.race.digests.setdefault(verified["revision"], verified["digest"])
        assert known == verified["digest"], verified

    def _label_of(self, identifier: str) -> str | None:
        while True:
            try:
                answer = self.race.send("GET", f"{OWN}/examples/{identifier}")
            except _NoAnswer:
                continue
            assert answer.status_code in (200, 404), answer.text
            return str(answer.json()["label"]) if answer.status_code == 200 else None

    def _ask(self, method: str, path: str, **options: Any) -> Answer:
        answer = self.race.send(method, path, **options)
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text)
        return answer

    def _saw(self, revision: int) -> None:
        self._least = max(self._least, revision)


def _revision(answer: Answer) -> int:
    return int(answer.headers["etag"].strip('"'))


def race(
    url: str, supervisor: int, *, writers: int, steps: float, seconds: float = 1e9, kill_every: int, seed: int = 0
) -> Counter[str]:
    """Let writers race, kill a process whenever so many steps have been done, and compare all in the end.

    Args:
        url: Of the server.
        supervisor: Process whose children are the server's processes.
        writers: How many, each on a thread of its own.
        steps: After which each writer stops.
        seconds: After which no step is begun.
        kill_every: Steps of all writers from one kill to the next.
        seed: Of the writers' choices.

    Returns:
        How often each kind of step was done, and how many processes were killed.

    Raises:
        AssertionError: An update was lost, a stale one was taken, or something read was of no revision.
    """
    state = Race(url)
    for name in (OWN, COUNTER):
        assert state.send("PUT", name, {"readout": "prototype"}).status_code in (200, 201)
    taught = state.send("PUT", f"{COUNTER}/examples/n?label=0", content=_IMAGES[0])
    state.revision = _revision(taught)
    everybody = [Writer(state, number, seed) for number in range(writers)]
    until = time.monotonic() + seconds
    processes = len(children(supervisor))
    over = threading.Event()
    rng, killing = random.Random(seed), threading.Lock()

    def write(writer: Writer) -> None:
        done = 0
        while done < steps and time.monotonic() < until and not over.is_set():
            writer.step()
            kill_if_due()
            done += 1

    def kill_if_due() -> None:
        with killing:
            with state.lock:
                due = state.counts.total() >= (state.counts["killed"] + 1) * kill_every
            if due and len(running := children(supervisor)) == processes:
                os.kill(rng.choice(running), signal.SIGKILL)
                state.count("killed")

    with ThreadPoolExecutor(writers) as pool:
        futures = [pool.submit(write, writer) for writer in everybody]
        try:
            for future in futures:
                future.result()
        finally:
            over.set()
    _compare(state, everybody)
    return state.counts


def _compare(state: Race, everybody: list[Writer]) -> None:
    """Hold what is stored against what was acknowledged."""
    expected = {identifier: label for writer in everybody for identifier, label in writer.labels.items()}
    found: dict[str, str] = {}
    after: str | None = ""
    while after is not None:
        page = state.send("GET", f"{OWN}/examples?after={after}").json()
        found |= {each["id"]: each["label"] for each in page["examples"]}
        after = page["next"]
    assert found == expected, {each for each in found.items() ^ expected.items()}
    numbers = [number for _, number in sorted(state.counted)]
    assert numbers == sorted(set(numbers)), "two counts have the same number: one was lost"
    last = int(state.send("GET", f"{COUNTER}/examples/n").json()["label"])
    assert len(numbers) <= last <= len(numbers) + state.unknown, (len(numbers), last, state.unknown)
    state.counts["counted up to"] = last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kill-every", type=int, default=500, help="steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--postgres", action="store_true", help="keep the memories in a PostgreSQL server that is made"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log, ExitStack() as stack:
        model = save_small_checkpoint(Path(folder, "small"))
        store = stack.enter_context(running_postgres()).url if asked.postgres else str(Path(folder, "m.sqlite3"))
        settings = {"AIT_MODEL": str(model), "AIT_MEMORIES": store, "AIT_TORCH_THREADS": "1", "AIT_RUNTIME": "torch"}
        server = running_server("--workers", "3", stderr=log, AIT_ACCESS_LOG="false", **settings)
        url, supervisor = stack.enter_context(server)
        began = time.monotonic()
        counts = race(
            url,
            supervisor,
            writers=asked.writers,
            steps=float("inf"),
            seconds=asked.seconds,
            kill_every=asked.kill_every,
            seed=asked.seed,
        )
    print(f"{asked.writers} writers, {time.monotonic() - began:.0f} s: {dict(counts)}; nothing lost")


if __name__ == "__main__":
    main()
