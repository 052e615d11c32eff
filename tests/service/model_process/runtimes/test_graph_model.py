"""A graph's second copy, on all threads for images that are alone, answers as the model does or not at all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ait_lite.runtimes import Answering, Graph, Outputs, open_graph, read_prepared
from ait_lite.runtimes.prepared import PreparedModel
from service.model_process.mixed_batch import split
from service.model_process.runtimes import graph_model
from service.model_process.runtimes.graph_model import GraphModel

WRONG_BY = 0.5


class Copy:
    """A copy of a graph whose logits may be wrong; it notes how many images it was given at once."""

    piece = 1

    def __init__(self, graph: Graph, by: float) -> None:
        self.graph, self.by = graph, by
        self.sizes: list[int] = []

    def __call__(self, pixels: np.ndarray) -> Outputs:
        self.sizes.append(len(pixels))
        found = self.graph(pixels)
        return found._replace(logits=found.logits + np.float32(self.by))


@pytest.fixture
def prepared(graph_folder: Path) -> PreparedModel:
    return read_prepared(graph_folder)


def widened(
    prepared: PreparedModel, monkeypatch: pytest.MonkeyPatch, *, by: float = 0.0, sooner: bool = True
) -> tuple[GraphModel, list[Copy]]:
    """Make a model of two streams and threads whose second copy is wrong by a number."""
    copies: list[Copy] = []
    model = GraphModel(prepared, "onnxruntime", "fp32", max_batch=4, threads=2, streams=2)

    def opened(*arguments: Any, **options: Any) -> Copy:
        copies.append(Copy(open_graph(*arguments, **options), by))
        return copies[-1]

    times = iter([1.0, 2.0] if sooner else [2.0, 1.0])
    monkeypatch.setattr(graph_model, "open_graph", opened)
    monkeypatch.setattr(graph_model, "fastest", lambda work: next(times))
    model.widen(prepared.reference(), Answering())
    return model, copies


def lone_answer(model: GraphModel) -> np.ndarray:
    return model.logits(split([np.full(model.data_config["input_size"], 9, np.uint8)]), threads=2)


def test_lone_images_are_answered_by_a_copy_that_agrees(
    prepared: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (copy,) = widened(prepared, monkeypatch)
    assert copy.sizes == [1] * len(prepared.reference().images)  # as it will be used
    lone_answer(model)
    assert len(copy.sizes) == len(prepared.reference().images) + 1
    model.logits(split([np.zeros(model.data_config["input_size"], np.uint8)]), threads=1)
    assert len(copy.sizes) == len(prepared.reference().images) + 1


def test_a_copy_that_answers_otherwise_is_left_out_and_told(
    prepared: PreparedModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model, (copy,) = widened(prepared, monkeypatch, by=WRONG_BY)
    assert "on 2 threads does not answer as the model does" in caplog.text
    used = len(copy.sizes)
    expected = GraphModel(prepared, "onnxruntime", "fp32", max_batch=4, threads=1, streams=1)
    np.testing.assert_allclose(lone_answer(model), lone_answer(expected), atol=1e-4)
    assert len(copy.sizes) == used


def test_a_copy_that_is_not_sooner_is_not_kept(prepared: PreparedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (copy,) = widened(prepared, monkeypatch, sooner=False)
    lone_answer(model)
    assert copy.sizes == []


def test_a_copy_that_cannot_be_opened_takes_nothing_down(
    prepared: PreparedModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = GraphModel(prepared, "onnxruntime", "fp32", max_batch=4, threads=2, streams=2)

    def fail(*_: Any, **__: Any) -> Graph:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(graph_model, "open_graph", fail)
    model.widen(prepared.reference(), Answering())
    assert np.isfinite(lone_answer(model)).all()
    assert "no copy of the graph on all threads can be had" in caplog.text
