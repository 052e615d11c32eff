"""What runs in a model's own process: loads it, then answers one message after the other."""

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
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from service import wire
from service.explaining import explain
from service.repository import ModelError, ModelFolder
from service.runner import Classifier, use_threads
from service.wire import Message

logger = logging.getLogger(__name__)

WARM_UP_SECONDS = 10.0  # larger batches are left out where they would make a slow machine wait for longer


def work(connection: socket.socket) -> None:
    """Reads what to load from the connection, loads it, says what it is, and answers until it is closed."""
    _die_first()
    wire.send(connection, {"pid": os.getpid()})
    inbox: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox), name="read", daemon=True).start()
    order = inbox.get().header
    try:
        classifier = _load(order["options"])
        explains = _try_explaining(classifier)
    except ModelError as error:
        wire.send(connection, {"id": order["id"], "error": str(error)})
        return
    description = {
        "labels": classifier.labels,
        "data_config": classifier.data_config,
        "num_features": classifier.num_features,
        "temperature": classifier.temperature,
        "explains": explains,
    }
    wire.send(connection, {"id": order["id"], "values": description, "seconds": 0.0})
    while True:
        _answer(connection, classifier, inbox.get())


def _logits(classifier: Classifier, message: Message) -> dict[str, Any]:
    return {"outputs": classifier.logits(_batch(classifier, message)).numpy()}


def _features(classifier: Classifier, message: Message) -> dict[str, Any]:
    return {"outputs": classifier.features(_batch(classifier, message)).numpy()}


def _explain(classifier: Classifier, message: Message) -> dict[str, Any]:
    pixels = _batch(classifier, message)
    return explain(classifier, pixels, message.header["options"].get("class_index"))


# A new operation is a function here: its results are arrays and what JSON can say, by name.
OPERATIONS: dict[str, Callable[[Classifier, Message], dict[str, Any]]] = {
    "logits": _logits,
    "features": _features,
    "explain": _explain,
}


def _answer(connection: socket.socket, classifier: Classifier, message: Message) -> None:
    start = time.perf_counter()
    number = message.header["id"]
    broken = False
    try:
        results = OPERATIONS[message.header["operation"]](classifier, message)
        arrays = {name: value for name, value in results.items() if isinstance(value, np.ndarray)}
        values = {name: value for name, value in results.items() if name not in arrays}
        header = {"id": number, "values": values, "seconds": time.perf_counter() - start}
        frame = wire.encode(header, arrays)
    except Exception as error:
        logger.exception("the model cannot do %s", message.header["operation"])
        frame = wire.encode({"id": number, "error": f"{type(error).__name__}: {error}"})
        broken = isinstance(error, torch.AcceleratorError)  # nothing works in this process after one
    connection.sendall(b"".join(frame))
    if broken:
        sys.stderr.flush()
        os._exit(1)


def _batch(classifier: Classifier, message: Message) -> Tensor:
    return classifier.assemble(message.arrays.get("bytes"), message.arrays.get("floats"), message.header["floats_at"])


def _load(spec: dict[str, Any]) -> Classifier:
    """Loads and warms up; whatever goes wrong is a ModelError."""
    use_threads(spec["torch_threads"])
    folder = ModelFolder(spec["name"], spec["version"], Path(spec["path"]), spec["config"])
    try:
        classifier = Classifier(folder, device=spec["device"], max_batch=spec["max_batch"])
        _warm_up(classifier)
    except ModelError:
        raise
    except Exception as error:
        logger.exception("the model in %s cannot be loaded", folder.path)
        raise ModelError(f"The model in {folder.path} cannot be loaded: {error}. The cause is in the log.") from error
    return classifier


def _warm_up(classifier: Classifier) -> None:
    """Runs batches of 1, 2, 4, … and the largest: the first of a shape takes longer."""
    start = time.perf_counter()
    size = 1
    while time.perf_counter() - start < WARM_UP_SECONDS:
        classifier.logits(classifier.batch([np.zeros(classifier.input_size, np.uint8)] * size))
        if size == classifier.max_batch:
            break
        size = min(2 * size, classifier.max_batch)


def _try_explaining(classifier: Classifier) -> bool:
    """Whether the model can be explained; the first time takes longer than later ones, as with other batches."""
    if not classifier.num_features:
        return False
    try:
        explain(classifier, classifier.batch([np.zeros(classifier.input_size, np.uint8)]), None)
    except Exception:  # of a model that is put together as none of timm's families is
        logger.exception("this model cannot be explained")
        return False
    return True


def _read(connection: socket.socket, inbox: SimpleQueue[Message]) -> None:
    """Reads ahead while the model works; when the front is gone, so is this process, at once."""
    with suppress(OSError):
        while message := wire.receive(connection):
            inbox.put(message)
    os._exit(0)


def _die_first() -> None:
    """Where memory runs out, the kernel shall take this process and not the front, which can start another."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
