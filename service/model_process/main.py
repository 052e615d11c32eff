"""Load a model in its own process, then answer messages, some of them side by side."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ait_lite.allocator import keep_freed_memory, trim_heap
from service.model_process import messages
from service.model_process.classifier import Classifier
from service.model_process.messages import Message
from service.model_process.mixed_batch import MixedBatch, split
from service.model_process.runtimes.choice import Wanted
from service.model_process.streams import Streams
from service.processes.machine import available_processors, freeze_garbage_collector
from service.repository.folders import ModelError, ModelFolder

logger = logging.getLogger(__name__)

WARM_UP_SECONDS = 10.0  # larger batches are left out where they would make a slow machine wait for longer
_ROUNDS = 3  # in which batches of all sizes are timed
_SAMPLE_SECONDS = 0.01  # that a size is timed for in a round: several turns of programs that share a processor

# A batch is large enough where no larger one is faster by more than this, counted with what it costs besides the
# model. Whoever waits for a batch to end waits for less then, and the server has its answers to write while the next
# one runs: batches of 16 gave a tenth more than batches of 32 that were a twentieth faster.
ENOUGH = 1.07
BESIDES_SECONDS = 1.5e-3
_BEHIND_THE_FRONT = 5  # added to the process's nice value


class _Operation(NamedTuple):
    """An operation of a model: results are arrays and what JSON can say, by name."""

    run: Callable[[Classifier, Message, int], dict[str, Any]]  # on so many threads
    alone: bool = False  # whether the model does nothing else meanwhile


def work(connection: socket.socket) -> None:
    """Read what to load from the connection, load it, describe it, and answer until the connection is closed."""
    _prefer_for_oom_kill()
    _let_the_front_go_first()
    keep_freed_memory()  # batches of different sizes would give memory back and ask for it again
    messages.send(connection, {"pid": os.getpid()})
    first = messages.receive(connection)
    if first is None:
        return
    order = first.header
    threads = order["options"]["torch_threads"] or available_processors()
    answering = threading.Lock()

    def answer(message: Message, threads: int) -> None:
        frame, broken = _answer(classifier, message, threads)
        with answering, suppress(ConnectionError):  # where the front is gone, reading ends this process
            connection.sendall(frame)
        if broken:
            sys.stderr.flush()
            os._exit(1)

    shared = Streams(
        answer,
        threads,
        small=lambda message: all(len(array) == 1 for array in message.arrays.values()),
        alone=lambda message: OPERATIONS[message.header["operation"]].alone,
    )
    threading.Thread(target=_read, args=(connection, shared.put), name="read", daemon=True).start()
    try:
        classifier, batches = _load(order["options"], threads)
        explains = order["options"]["explain"] and _try_explaining(classifier)
        freeze_garbage_collector()
        trim_heap()  # of what was tried and not taken
    except ModelError as error:
        messages.send(connection, {"id": order["id"], "error": str(error)})
        return
    description = {
        "labels": classifier.labels,
        "data_config": classifier.data_config,
        "num_features": classifier.num_features,
        "temperature": classifier.temperature,
        "explains": explains,
        "runtime": classifier.choice.to_dict(),
        "no_torch": classifier.no_torch,
        "streams": classifier.streams,
        "best_batch": batches.best,
        "batch_seconds": batches.seconds,
        "piece": classifier.model.piece,
    }
    messages.send(connection, {"id": order["id"], "values": description, "seconds": 0.0})
    shared.run(classifier.streams)


def _logits(classifier: Classifier, message: Message, threads: int) -> dict[str, Any]:
    return {"outputs": classifier.logits(_batch(message), threads)}


def _features(classifier: Classifier, message: Message, threads: int) -> dict[str, Any]:
    return {"outputs": classifier.features(_batch(message), threads)}


def _explain(classifier: Classifier, message: Message, threads: int) -> dict[str, Any]:
    from service.model_process.explain import explain

    return explain(classifier, _batch(message), message.header["options"].get("class_index"), threads)


OPERATIONS = {
    "logits": _Operation(_logits),
    "features": _Operation(_features),
    "explain": _Operation(_explain, alone=True),  # it hooks into the modules
}


def _answer(classifier: Classifier, message: Message, threads: int) -> tuple[bytes, bool]:
    """Make an answer as it is sent; also return whether the process is of no use any more."""
    start = time.perf_counter()
    number = message.header["id"]
    broken = False
    try:
        results = OPERATIONS[message.header["operation"]].run(classifier, message, threads)
        arrays = {name: value for name, value in results.items() if isinstance(value, np.ndarray)}
        values = {name: value for name, value in results.items() if name not in arrays}
        header = {"id": number, "values": values, "seconds": time.perf_counter() - start}
        frame = messages.encode(header, arrays)
    except Exception as error:
        logger.exception("the model cannot do %s", message.header["operation"])
        frame = messages.encode({"id": number, "error": f"{type(error).__name__}: {error}"})
        broken = type(error).__name__ == "AcceleratorError"  # torch's; nothing works in this process after one
    return b"".join(frame), broken


def _batch(message: Message) -> MixedBatch:
    arrays = message.arrays
    return MixedBatch(arrays.get("images"), arrays.get("pixels"), message.header["pixel_places"])


class _Batches(NamedTuple):
    """What warming up tells of a model's batches."""

    best: int  # inputs; the smallest number that is large enough
    seconds: float  # that a batch takes besides its inputs


def _load(spec: dict[str, Any], threads: int) -> tuple[Classifier, _Batches]:
    """Load and warm up; whatever goes wrong is a ModelError."""
    folder = ModelFolder(spec["name"], spec["version"], Path(spec["path"]), spec["config"])
    try:
        classifier = Classifier(
            folder,
            device=spec["device"],
            max_batch=spec["max_batch"],
            wanted=Wanted(spec["runtime"], spec["precision"], spec["runtime_file"]),
            cache=Path(spec["cache"]).expanduser() if spec["cache"] else None,
            threads=threads,
            apart=True,
            use_torch=spec["torch"],
        )
        if spec["only_explains"]:
            return classifier, _Batches(1, 0.0)
        return classifier, _warm_up(classifier, max(threads // classifier.streams, 1))
    except ModelError:
        raise
    except Exception as error:
        logger.exception("the model in %s cannot be loaded", folder.path)
        raise ModelError(f"The model in {folder.path} cannot be loaded: {error}. The cause is in the log.") from error


def _warm_up(classifier: Classifier, threads: int, clock: Callable[[], float] | None = None) -> _Batches:
    """Run batches of 1, 2, 4, … and the largest, and time them in turns.

    A thread on a processor is timed by what it has of that: other programs, and a slow disk, count for nothing. By any
    other clock another program takes its share of every sample. The least time of each size would tell that of an
    idle machine for small batches, which fit between two turns of the other, and never for large ones: they would seem
    slow.
    """
    if clock is None:
        clock = time.process_time if threads == 1 and classifier.device == "cpu" else time.perf_counter
    began = clock()
    batches: dict[int, MixedBatch] = {}
    size = 1
    while clock() - began < WARM_UP_SECONDS / 4:
        batches[size] = split([np.zeros(classifier.input_size, np.uint8)] * size)
        classifier.logits(batches[size], threads)  # the first of a shape takes longer
        if size == classifier.max_batch:
            break
        size = min(2 * size, classifier.max_batch)
    seconds: dict[int, list[float]] = {size: [] for size in batches}
    for _ in range(_ROUNDS):
        for size, batch in batches.items():
            start, runs = clock(), 0
            while not runs or clock() - start < _SAMPLE_SECONDS:
                classifier.logits(batch, threads)
                runs += 1
            seconds[size].append((clock() - start) / runs)
        if clock() - began > WARM_UP_SECONDS:
            break
    return _judge({size: median(found) + BESIDES_SECONDS for size, found in seconds.items()})


def _judge(seconds: dict[int, float]) -> _Batches:
    """Choose the size of batches, and tell a batch's own cost from that of its inputs.

    Args:
        seconds: Of batches, by size; that of one is among them.
    """
    costs = {size: total / size for size, total in seconds.items()}
    best = min(size for size, cost in costs.items() if cost <= ENOUGH * min(costs.values()))
    if best == 1:
        return _Batches(1, 0.0)
    each = (seconds[best] - seconds[1]) / (best - 1)
    return _Batches(best, min(max(seconds[1] - each, 0.0), seconds[1]))


def _try_explaining(classifier: Classifier) -> bool:
    """Find out whether the model can be explained; the first time takes longer, as with other batches."""
    if not classifier.num_features or classifier.torch_model is None:
        return False
    from service.model_process.explain import explain

    try:
        explain(classifier, split([np.zeros(classifier.input_size, np.uint8)]), None)
    except Exception:  # of a model that is put together as none of timm's families is
        logger.exception("this model cannot be explained")
        return False
    return True


def _read(connection: socket.socket, put: Callable[[Message], None]) -> None:
    """Read ahead while the model works; when the front is gone, so is this process, at once."""
    with suppress(OSError):
        while message := messages.receive(connection):
            put(message)
    os._exit(0)


def _let_the_front_go_first() -> None:
    """Take second place where both want a processor: the front's work is short, and makes the next batch.

    Between programs of other containers, services or terminals this decides nothing: Linux shares processors out among
    those first.
    """
    with suppress(OSError):
        os.nice(_BEHIND_THE_FRONT)


def _prefer_for_oom_kill() -> None:
    """Have the kernel end this process first where memory runs out: the front can start another."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
