"""Measure the queues and the memory of a server process."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from service.engine import Engine


def take_snapshot(engine: Engine, *, worker: int, in_progress: int) -> dict[str, Any]:
    """Measure the queues and the memory of a server process now.

    Args:
        engine: Of this process.
        worker: Number of this process among those of its server.
        in_progress: Requests being answered.

    Returns:
        `worker`, `in_progress`, `decoding` (images), `depths` (images that wait, by model), `versions`
        (name, version, whether it answers), `runtimes` (name, version, runtime, precision, whether it is the one that
        answers, images a second by batch, figures of its agreement by name) and `memory` (kind of process, model,
        version, bytes).
    """
    models = engine.models.loaded()
    depths: Counter[str] = Counter()
    launchers = sum(map(resident_bytes, engine.models.launcher_pids))
    memory = [("front", "", "", resident_bytes(os.getpid())), ("launcher", "", "", launchers)]
    for model in models:
        name, version = model.folder.name, model.folder.version
        depths[name] += model.depth
        memory.append(("model", name, version, resident_bytes(model.pid)))
        memory.append(("explainer", name, version, resident_bytes(model.explainer_pid)))
    return {
        "worker": worker,
        "in_progress": in_progress,
        "decoding": engine.decoders.depth,
        "depths": dict(depths),
        "versions": [(each.folder.name, each.folder.version, each.ready) for each in models],
        "runtimes": [
            (
                model.folder.name,
                model.folder.version,
                each["runtime"],
                each["precision"],
                (each["runtime"], each["precision"]) == (model.runtime["name"], model.runtime["precision"]),
                each["images_per_second"],
                each["agreement"] or {},
            )
            for model in models
            for each in model.runtime["tried"]
        ],
        "memory": [each for each in memory if each[-1]],
    }


def resident_bytes(pid: int | None) -> int:
    """Measure the bytes of memory that a process has in use; 0 where that cannot be known."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
