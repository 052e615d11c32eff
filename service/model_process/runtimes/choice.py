"""Choose what a model runs in: of what answers as the eager model does, the fastest on this machine."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ait_lite.runtimes import (
    GRAPH_RUNTIMES,
    PRECISIONS,
    Agreement,
    Answering,
    Outputs,
    PreparedError,
    PreparedModel,
    Reference,
    RuntimeUnavailable,
    check_available,
    compare,
    why,
)
from ait_lite.runtimes.processor import has_bf16
from service.model_process.mixed_batch import split
from service.model_process.runtimes.graph_model import GraphModel
from service.model_process.runtimes.graphs import Graphs, NoGraph
from service.model_process.runtimes.model import Model
from service.repository.folders import ModelError
from service.settings import Precision, Runtime

if TYPE_CHECKING:
    from service.model_process.runtimes.torch_model import TorchModel

logger = logging.getLogger(__name__)

RUNTIMES: Final = ("torch", *GRAPH_RUNTIMES)
SECONDS: Final = 2.0  # for each runtime, after which no larger batch is tried
ROUNDS: Final = 4  # the first does not count, nor what another program has held up
IN_SOFTMAX: Final = Answering()
TYPICAL: Final = 8  # images of a batch under load


@dataclass(frozen=True)
class Wanted:
    """What was asked for; `auto` leaves it to measurement.

    Attributes:
        runtime: What the model is to run in.
        precision: What it is to compute in.
        file: Which file asks for the runtime; empty if the server's settings do.
    """

    runtime: Runtime = "auto"
    precision: Precision = "fp32"
    file: str = ""

    def __str__(self) -> str:
        """Where the runtime is asked for."""
        return f'"runtime": "{self.runtime}" in {self.file}' if self.file else f"AIT_RUNTIME={self.runtime}"

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Those that may be taken."""
        return RUNTIMES if self.runtime == "auto" else (self.runtime,)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that may be taken."""
        return PRECISIONS if self.precision == "auto" else (self.precision,)


@dataclass
class Tried:
    """A runtime in a precision, and what came of it.

    Attributes:
        reason: Why it cannot be taken; empty if it can.
        agreement: With the eager model; None where nothing was compared.
        rates: Images a second by the size of the batches, as many of which run side by side as are served so.
    """

    runtime: str
    precision: str
    reason: str = ""
    agreement: Agreement | None = None
    rates: dict[int, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-ready values."""
        return {
            "runtime": self.runtime,
            "precision": self.precision,
            "reason": self.reason,
            "agreement": self.agreement.to_dict() if self.agreement else None,
            "images_per_second": {str(size): round(rate, 1) for size, rate in self.rates.items()},
        }


class Choice(NamedTuple):
    """The model as it is served, why so, and what else was tried."""

    model: Model
    reason: str
    tried: list[Tried]

    def to_dict(self) -> dict[str, Any]:
        """Everything that JSON can say."""
        return {
            "name": self.model.runtime,
            "precision": self.model.precision,
            "reason": self.reason,
            "tried": [each.to_dict() for each in self.tried],
        }


def choose(
    wanted: Wanted,
    torch_model: TorchModel | None,
    graphs: Graphs,
    *,
    no_torch: str = "",
    answering: Answering = IN_SOFTMAX,
    max_batch: int = 32,
    threads: int = 1,
    streams: int = 1,
) -> Choice:
    """Choose among what is wanted; where none of that will do, among what is left in fp32.

    Args:
        wanted: The runtime and the precision.
        torch_model: The `TorchModel` of the checkpoint; None where there is none.
        graphs: Its graphs.
        no_torch: Why there is no `torch_model`.
        answering: What is made of logits.
        max_batch: Most inputs of a batch.
        threads: Of all batches together.
        streams: Batches that run at the same time.

    Raises:
        ModelError: What was asked for is not installed, or nothing can run the model.
    """
    if wanted.runtime in GRAPH_RUNTIMES:
        try:
            check_available(wanted.runtime)
        except RuntimeUnavailable as error:
            raise ModelError(f"{wanted}: {error}, or choose auto.") from None
    if wanted.runtime == "torch" and torch_model is None:
        raise ModelError(f"{wanted}: {no_torch}.")
    if torch_model is not None and torch_model.device.type != "cpu" and wanted.runtime == "auto":
        wanted = Wanted("torch", wanted.precision)
    make = partial(GraphModel, max_batch=max_batch, threads=threads, streams=streams)
    groups = (
        (wanted.runtimes, wanted.precisions),
        (wanted.runtimes, ("fp32",)),
        (("torch",), ("fp32",)),
        (RUNTIMES, ("fp32",)),
    )
    with ExitStack() as stack:
        candidates = _Candidates(torch_model, no_torch, make, answering)
        candidates.prepare = lambda: stack.enter_context(graphs.prepared(int8="int8" in wanted.precisions))
        for place, (runtimes, precisions) in enumerate(groups):
            found = [model for runtime in runtimes for each in precisions if (model := candidates.get(runtime, each))]
            if found:
                best = _fastest(found, candidates, max_batch, max(threads // streams, 1), streams)
                return Choice(
                    best, _reason(wanted, len(found), candidates.tried, fallback=place > 0), candidates.tried
                )
    reasons = "; ".join(dict.fromkeys(f"{each.runtime}: {each.reason}" for each in candidates.tried))
    raise ModelError(f"Nothing can run the model. {reasons}.")


class _Candidates:
    """What might be taken; each is made and compared once."""

    def __init__(
        self, torch_model: TorchModel | None, no_torch: str, make: Callable[..., GraphModel], answering: Answering
    ) -> None:
        self.tried: list[Tried] = []
        self.prepare: Callable[[], PreparedModel]
        self._torch_model, self._no_torch = torch_model, no_torch
        self._make, self._answering = make, answering
        self._models: dict[tuple[str, str], Model | None] = {}
        self._graphs: tuple[PreparedModel, Reference] | NoGraph | None = None

    def get(self, runtime: str, precision: str) -> Model | None:
        """Make and compare a candidate; None if it cannot be taken, for the reason in `tried`."""
        key = (runtime, precision)
        if key not in self._models:
            entry = Tried(runtime, precision)
            self.tried.append(entry)
            try:
                self._models[key] = self._torch(precision) if runtime == "torch" else self._graph(runtime, entry)
            except (NoGraph, RuntimeUnavailable) as error:
                entry.reason = str(error)
            except Exception as error:  # whatever a library raises for a graph that it cannot run
                logger.warning("%s in %s cannot be taken", runtime, precision, exc_info=True)
                entry.reason = why(error)
            if entry.agreement and not entry.reason and not entry.agreement.enough(precision):
                entry.reason = f"it does not answer as the model does ({entry.agreement})"
            if entry.reason:
                self._models[key] = None
        return self._models[key]

    def entry(self, model: Model) -> Tried:
        """Find what was noted of a candidate."""
        return next(each for each in self.tried if (each.runtime, each.precision) == (model.runtime, model.precision))

    def _torch(self, precision: str) -> Model:
        if self._torch_model is None:
            raise NoGraph(self._no_torch)
        if precision == "fp32":
            in_fp32: Model = self._torch_model
            return in_fp32
        if precision == "int8":
            raise RuntimeUnavailable("torch is not used for int8")
        if self._torch_model.device.type == "cpu" and not has_bf16():
            raise RuntimeUnavailable("this processor has no bf16 arithmetic")
        model: Model = self._torch_model.in_bf16()
        _, reference = self._reference()
        answers = Outputs(model.logits(split(list(reference.images))), None)
        self.tried[-1].agreement = compare(reference.outputs._replace(features=None), answers, self._answering)
        return model

    def _graph(self, runtime: str, entry: Tried) -> Model:
        check_available(runtime, entry.precision)
        prepared, reference = self._reference()
        if prepared.graph(entry.precision) is None:
            raise NoGraph(_no_int8(prepared))
        model = self._make(prepared, runtime, entry.precision)
        entry.agreement = model.compare(reference, self._answering)
        return model

    def _reference(self) -> tuple[PreparedModel, Reference]:
        if self._graphs is None:
            try:
                prepared = self.prepare()
                self._graphs = prepared, prepared.reference()
            except (NoGraph, PreparedError) as error:
                self._graphs = NoGraph(str(error))
        if isinstance(self._graphs, NoGraph):
            raise self._graphs
        return self._graphs


def _no_int8(prepared: PreparedModel) -> str:
    told = [f"{name}: {found}" for name, found in prepared.agreement.items() if name.endswith("int8")]
    return f"no int8 graph answers as the model does ({'; '.join(told)})" if told else "no int8 graph was made"


def _reason(wanted: Wanted, usable: int, tried: Sequence[Tried], *, fallback: bool) -> str:
    if fallback:
        asked = " ".join(each for each in (wanted.runtime, wanted.precision) if each != "auto")
        told = "; ".join(f"{each.runtime} {each.precision}: {each.reason}" for each in tried if each.reason)
        return f"{asked} was asked for, but {told}"
    if usable > 1:
        return f"the fastest here of {usable} that answer as the eager model does"
    told = "; ".join(f"{each.runtime} {each.precision}: {each.reason}" for each in tried if each.reason)
    return f"the only one that there is; {told}" if told else "asked for"


def _fastest(models: list[Model], candidates: _Candidates, max_batch: int, threads: int, streams: int) -> Model:
    """Measure and compare; a single one needs no measurement."""
    if len(models) == 1:
        return models[0]
    rates = measure(models, max_batch, threads, streams)
    for model, each in zip(models, rates, strict=True):
        candidates.entry(model).rates = each
    scores = [math.prod(each.values()) for each in rates]
    return models[scores.index(max(scores))]


def measure(models: Sequence[Model], max_batch: int, threads: int, streams: int) -> list[dict[int, float]]:
    """Measure images a second, by the size of a batch: of one, of a typical and of the largest one.

    Args:
        models: What is measured, in turns: what slows the machine down for a while slows all of them.
        max_batch: Most inputs of a batch.
        threads: Of each batch.
        streams: Batches that run at the same time.
    """
    image = models[0].data_config["input_size"]
    noise = np.random.default_rng(0).integers(0, 256, (max_batch, *image), np.uint8)
    began = time.perf_counter()
    rates: list[dict[int, float]] = [{} for _ in models]
    with ThreadPoolExecutor(streams) as pool:
        for size in sorted({1, min(TYPICAL, max_batch), max_batch}):
            batch, fastest = split(list(noise[:size])), [math.inf] * len(models)
            for _ in range(ROUNDS):
                for place, model in enumerate(models):
                    start = time.perf_counter()
                    list(pool.map(model.logits, [batch] * streams, [threads] * streams))
                    fastest[place] = min(fastest[place], time.perf_counter() - start)
            for found, seconds in zip(rates, fastest, strict=True):
                found[size] = size * streams / seconds
            if time.perf_counter() - began > SECONDS * len(models):
                break
    return rates
