"""Every list of runtimes and of precisions names the same ones."""

from typing import get_args

import pytest

from ait.benchmark.model import PRECISIONS as TIMED_PRECISIONS
from ait.benchmark.model import RUNTIMES as TIMED
from ait.export.graph import library_versions
from ait_cli.arguments import ServingPrecision, ServingRuntime
from ait_cli.measurement.bench import BenchRuntime
from ait_cli.measurement.bench import Precision as BenchPrecision
from ait_lite.runtimes import GRAPH_RUNTIMES, PRECISIONS
from service.http.v1.schemas import Runtime as ServedRuntime
from service.http.v1.schemas import TriedRuntime
from service.model_process.runtimes.choice import RUNTIMES as CHOSEN
from service.settings import Precision, Runtime

LISTS = {
    "the setting": set(get_args(Runtime)) - {"auto"},
    "answers of the service": set(get_args(ServedRuntime.model_fields["name"].annotation)),
    "what was tried": set(get_args(TriedRuntime.model_fields["runtime"].annotation)),
    "options for servers": {*ServingRuntime} - {"auto"},
    "options of ait bench model": {*BenchRuntime},
    "what may be chosen": set(CHOSEN),
    "what may be timed": set(TIMED),
}
PRECISION_LISTS = {
    "the setting": set(get_args(Precision)) - {"auto"},
    "answers of the service": set(get_args(ServedRuntime.model_fields["precision"].annotation)),
    "what was tried": set(get_args(TriedRuntime.model_fields["precision"].annotation)),
    "options for servers": {*ServingPrecision} - {"auto"},
    "options of ait bench model": {*BenchPrecision},
    "what may be timed": set(TIMED_PRECISIONS),
}


@pytest.mark.parametrize("where", LISTS)
def test_all_runtimes_are_named(where: str) -> None:
    assert LISTS[where] == {"torch", *GRAPH_RUNTIMES}


@pytest.mark.parametrize("where", PRECISION_LISTS)
def test_all_precisions_are_named(where: str) -> None:
    assert PRECISION_LISTS[where] == set(PRECISIONS)


def test_graphs_are_made_anew_for_another_version_of_each_runtime() -> None:
    assert set(GRAPH_RUNTIMES) <= set(library_versions())
