"""Writers of a store that are killed at any moment; nothing that was acknowledged may be lost.

    python -m tests.support.stress.memory_kills memories.sqlite3 --kills 300

starts a writer again and again on the same store and kills it after a random time. A writer teaches, replaces,
corrects and forgets, and acknowledges each on a line once the store has returned. After every kill the store must hold
what was acknowledged, and the one step that may have been under way either as a whole or not at all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from service.errors import MemoryNotFound
from service.memories.answering.index import MemoryIndex, filled_memory
from service.memories.records import NOT, Selection
from service.memories.stores.opening import open_store
from service.memories.stores.store import MemoryStore
from tests.support.stress.memory_histories import QUOTAS, lesson, taught

NAME = "killed"
_LABELS = ("ant", "bee", f"{NOT}bee")
State = dict[str, tuple[str, int]]  # id -> label and seed


def write(where: str, seed: int) -> None:
    """Do random steps for ever; print each before it is done, and again when it is acknowledged."""
    store, rng = open_store(where), random.Random(seed)
    ids = [each.id for each in store.examples(NAME, None, "", 1000)]
    while True:
        what = rng.choice(["teach", "teach", "teach", "correct", "forget"]) if ids else "teach"
        identifier = f"e{rng.randrange(60)}" if what == "teach" else rng.choice(ids)
        step = [what, identifier, rng.choice(_LABELS), rng.randrange(10**9)]
        print(json.dumps({"begins": step}), flush=True)
        do(store, step)
        if what == "teach" and identifier not in ids:
            ids.append(identifier)
        elif what == "forget":
            ids.remove(identifier)
        print(json.dumps({"acknowledged": step}), flush=True)


def do(store: MemoryStore, step: list[Any]) -> None:
    what, identifier, label, seed = step
    if what == "teach":
        new = lesson(identifier, label, seed, thumbnail=random.Random(seed).randbytes(2000))
        store.teach(store.memory(NAME), [new], QUOTAS)
    elif what == "correct":
        store.correct(NAME, identifier, label, QUOTAS)
    else:
        store.forget(NAME, Selection(id=identifier))


def done(state: State, step: list[Any]) -> State:
    """The state after a step."""
    what, identifier, label, seed = step
    if what == "forget":
        return {each: value for each, value in state.items() if each != identifier}
    return {**state, identifier: (label, seed if what == "teach" else state[identifier][1])}


def check(store: MemoryStore, possible: list[State]) -> State:
    """Compare the store with the states that it may be in; return the one that it is in."""
    changes = store.changes(NAME)
    keys = {row.id: (row.label, row.key) for row in changes.rows}
    for state in possible:
        if keys == {each: (label, lesson(each, label, seed).key) for each, (label, seed) in state.items()}:
            assert changes.memory.examples == len(state)
            for row in changes.rows:
                thumbnail = store.image(NAME, row.id, whole=False)
                assert thumbnail == random.Random(state[row.id][1]).randbytes(2000)
            with MemoryIndex(store, NAME).state() as own:
                assert own.content.digest() == filled_memory(changes).digest()
            return state
    raise AssertionError(f"the store holds {sorted(keys)}, not what was acknowledged: {[*map(sorted, possible)]}")


def kill_writers(where: str, kills: int, seed: int = 0, told: int = 0) -> Counter[str]:
    """Kill so many writers; count the steps that were acknowledged, and what became of those under way.

    Args:
        where: The store.
        kills: How many.
        seed: Of the writers' choices and of the moments.
        told: Kills from one line about the progress to the next; 0 prints none.

    Raises:
        AssertionError: Something that was acknowledged is lost, or something is there by half.
    """
    rng, counts = random.Random(seed), Counter[str]()
    store = open_store(where)
    with contextlib.suppress(MemoryNotFound):
        store.delete(NAME)
    taught(store, name=NAME)
    state: State = {}
    for number in range(kills):
        command = [sys.executable, "-m", "tests.support.stress.memory_kills", where, "--write", str(seed + number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            first = writer.stdout.readline()  # it has begun
            time.sleep(rng.uniform(0, 0.5))
            os.kill(writer.pid, signal.SIGKILL)
            text = first + writer.stdout.read()
        lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        acknowledged = [line["acknowledged"] for line in lines if "acknowledged" in line]
        for step in acknowledged:
            state = done(state, step)
        counts["acknowledged"] += len(acknowledged)
        under_way = lines[-1].get("begins")
        possible = [state, *([done(state, under_way)] if under_way else [])]
        before = state
        state = check(store, possible)
        counts["whole" if state != before else "not at all"] += 1
        if told and not (number + 1) % told:
            print(f"{number + 1} kills, {dict(counts)}", flush=True)
    store.close()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=int)
    arguments = parser.parse_args()
    if arguments.write is not None:
        write(arguments.store, arguments.write)
    started = time.perf_counter()
    counts = kill_writers(arguments.store, arguments.kills, arguments.seed, told=5)
    print(f"{arguments.kills} kills in {time.perf_counter() - started:.0f} s, {dict(counts)}: nothing lost")


if __name__ == "__main__":
    main()
