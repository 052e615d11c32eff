"""Batches side by side: how many at a time, in which order, and on how many threads."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

import pytest

from service.model_process.streams import MOST, Streams, streams_on
from tests.support.processes.waiting import CEILING, wait_for_event

THREADS = 4


@dataclass(eq=False)
class Job:
    """Something to work on; it ends when it is let go."""

    small: bool = False
    alone: bool = False
    held: bool = False
    threads: int = 0
    began: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


class Watched:
    """Streams, and what they did."""

    def __init__(self, count: int) -> None:
        self.order: list[Job] = []
        self.overlaps: list[tuple[Job, set[Job]]] = []  # a job that began, and those that ran then
        self._running: set[Job] = set()
        self._lock = threading.Lock()
        streams = Streams(self._work, THREADS, small=lambda job: job.small, alone=lambda job: job.alone)
        self.put = streams.put
        threading.Thread(target=streams.run, args=(count,), daemon=True).start()

    def _work(self, job: Job, threads: int) -> None:
        job.threads = threads
        with self._lock:
            self.order.append(job)
            self.overlaps.append((job, set(self._running)))
            self._running.add(job)
        job.began.set()
        if job.held:
            job.go.wait(CEILING)
        with self._lock:
            self._running.remove(job)
        job.ended.set()


def test_a_lone_small_one_has_all_threads_and_others_share_them() -> None:
    streams = Watched(2)
    lone, large = Job(small=True), Job()
    for job in (lone, large):
        streams.put(job)
        wait_for_event(job.ended, "a job")
    assert (lone.threads, large.threads) == (4, 2)
    first, second = Job(held=True), Job(small=True)
    streams.put(first)
    wait_for_event(first.began, "the first job to begin")
    streams.put(second)
    wait_for_event(second.ended, "the second job")  # beside the first
    assert second.threads == 2
    first.go.set()


def test_what_must_be_alone_is_and_nothing_overtakes_it() -> None:
    streams = Watched(2)
    first, alone, after = Job(held=True), Job(alone=True, held=True), Job()
    for job in (first, alone, after):
        streams.put(job)
    for job in (first, alone):
        wait_for_event(job.began, "a job to begin")
        job.go.set()
    wait_for_event(after.ended, "the last job")
    assert streams.order == [first, alone, after]
    assert streams.overlaps == [(first, set()), (alone, set()), (after, set())]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_are_done_in_order_whoever_puts_them(count: int) -> None:
    choose = random.Random(count)
    streams = Watched(count)
    jobs = [Job(small=choose.random() < 0.5, alone=choose.random() < 0.2) for _ in range(300)]
    for job in jobs:
        streams.put(job)
    for job in jobs:
        wait_for_event(job.ended, "a job")
    assert set(streams.order) == set(jobs)
    for job, others in streams.overlaps:
        assert len(others) < count
        assert not (others and (job.alone or any(other.alone for other in others)))
    if count == 1:
        assert streams.order == jobs


def test_an_accelerator_runs_one_batch_after_the_other() -> None:
    assert streams_on("cuda", 16) == 1
    assert [streams_on("cpu", threads) for threads in (1, 2, 64)] == [1, 2, MOST]
