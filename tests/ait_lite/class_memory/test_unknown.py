"""A memory of classes calls unknown what is unlike its examples, at a level that it keeps."""

import numpy as np
import pytest

from ait_lite.class_memory import ClassMemory
from tests.support.models.class_memories import clusters, taught, vector


def test_p_values_of_known_queries_are_uniform_and_of_strangers_small() -> None:
    ids, vectors, labels = clusters(500)
    memory = ClassMemory(16, unknown_level=0.05)
    memory.write(ids, vectors, labels)
    known = [answer.p_value for answer in memory.recall(clusters(400, seed=3)[1])]
    for level in (0.1, 0.3, 0.6):
        assert np.mean(np.array(known) <= level) == pytest.approx(level, abs=0.07)
    strangers = memory.recall(np.random.default_rng(8).standard_normal((50, 16)))
    assert np.mean([answer.unknown for answer in strangers]) > 0.9
    assert strangers[0].resolution == 1 / 501


def test_few_examples_call_nothing_unknown() -> None:
    memory = taught([("a", "ant"), ("b", "bee")], unknown_level=0.1)
    answer = memory.recall(-vector("a")[None])[0]
    assert answer.resolution == pytest.approx(1 / 3)
    assert not answer.unknown
    only = taught([("a", "ant")]).recall(vector("a")[None])[0]
    assert (only.label, only.strongest, only.label_without_strongest) == ("ant", "a", None)


def test_a_memory_says_why_nothing_can_be_called_unknown() -> None:
    assert taught([], unknown_level=0.5).unpromised == "Nothing has been taught yet."
    assert "takes 3 examples to promise a level of 0.25, and there are 2" in (
        taught([("a", "ant"), ("b", "bee")], unknown_level=0.25).unpromised
    )
    assert taught([("a", "ant"), ("b", "bee"), ("c", "bee")], unknown_level=0.25).unpromised == ""
    assert "unknown_level is 0" in taught([("a", "ant")], unknown_level=0.0).unpromised
