"""Answer inference requests of the protocol with a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.engine import Engine
from service.errors import ImageRejected, ModelFailed
from service.http.v2.metadata import IMAGE, LOGITS
from service.images.upload import Upload
from service.inference_protocol import InferenceRequest, OutputTensor, ProtocolError, RequestedOutput
from service.models.served_model import ServedModel
from service.scores import highest

_ABSURD = 1e6  # no normalised pixel comes near it; a model may make infinity of it


@dataclass(frozen=True)
class Inferred:
    """The outputs that a request asked for, and where the time went, in seconds."""

    outputs: list[OutputTensor]
    queue: float
    decode: float
    infer: float


async def infer(
    engine: Engine, model: ServedModel, request: InferenceRequest, deadline: float | None = None
) -> Inferred:
    """Run the model on what a request holds.

    Args:
        engine: Decodes images.
        model: Answers.
        request: The inputs, of which there must be one, and the outputs that are wanted.
        deadline: `loop.time()` until which the server gives it; the request's own timeout may be sooner.

    Raises:
        ProtocolError: The inputs do not go together, or are not finite.
        ServiceError: An image cannot be used, too much is waiting, or the deadline has passed.
    """
    started = time.perf_counter()
    deadline = _sooner(deadline, request.timeout)
    if len(request.inputs) > 1:
        raise ProtocolError(f"The request has the inputs {' and '.join(request.inputs)}. Send one of them.")
    ((name, array),) = request.inputs.items()
    inputs, waited = await _prepare(engine, model, name, array, deadline)
    prepared = time.perf_counter()
    try:
        inference = await model.infer(inputs, deadline=deadline)
    except ModelFailed:
        if name != IMAGE and np.abs(array).max() > _ABSURD:
            raise ProtocolError(f"Input {name!r} has values that are too large. Send normalised pixels.") from None
        raise
    return Inferred(
        outputs=[_output(wanted, inference.outputs, model) for wanted in request.outputs],
        queue=waited + inference.queue,
        decode=prepared - started - waited,
        infer=inference.infer,
    )


async def _prepare(
    engine: Engine, model: ServedModel, name: str, array: np.ndarray, deadline: float | None
) -> tuple[Sequence[np.ndarray], float]:
    """Make one array per image; return these and the seconds spent waiting for a decoder."""
    if name != IMAGE:
        if not np.isfinite(array).all():
            raise ProtocolError(f"Input {name!r} has values that are not finite. Send numbers, without NaN.")
        return list(array), 0.0
    model.check_room(len(array))
    try:
        prepared = await engine.prepare([Upload(data) for data in array], model, deadline=deadline)
    except ImageRejected as rejected:
        raise ImageRejected(rejected.error, f"Input {name!r}: {rejected}", rejected.index) from None
    return prepared.inputs, prepared.queue


def _output(wanted: RequestedOutput, logits: np.ndarray, model: ServedModel) -> OutputTensor:
    values = logits if wanted.name == LOGITS else model.probabilities(logits)
    if wanted.classes:
        return OutputTensor(wanted.name, "BYTES", _classification(values, model.labels, wanted.classes), wanted.binary)
    return OutputTensor(wanted.name, "FP32", values, wanted.binary)


def _classification(values: np.ndarray, labels: Sequence[str], count: int) -> np.ndarray:
    """Write the `count` highest of each row of (n, classes) as "value:index:label"; more than there are means all."""
    order = highest(values, count)
    texts = np.empty(order.shape, object)
    for (row, rank), index in np.ndenumerate(order):
        texts[row, rank] = f"{values[row, index]:f}:{index}:{labels[int(index)]}".encode(errors="replace")
    return texts


def _sooner(deadline: float | None, timeout: float | None) -> float | None:
    if timeout is None:
        return deadline
    own = asyncio.get_running_loop().time() + timeout
    return own if deadline is None else min(deadline, own)
