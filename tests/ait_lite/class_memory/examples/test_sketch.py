"""Bounds of a sketch hold for all keys."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ait_lite.class_memory.examples.sketch import ROUNDING, Sketch
from ait_lite.class_memory.features import SCALE
from tests.support.models.keys_in_few_directions import in_few_directions


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), noise=st.sampled_from([0.0, 0.1, 100.0]))
def test_bounds_are_never_less(seed: int, noise: float) -> None:
    keys, queries = in_few_directions(300, seed, noise) / SCALE, in_few_directions(7, seed + 1, noise) / SCALE
    sketch = Sketch(keys[:100])
    sketch.add(keys[:130])
    sketch.add(keys[130:])
    assert len(sketch) == 300
    assert (sketch.bounds(queries) >= queries @ keys.T - ROUNDING).all()
    np.testing.assert_allclose(sketch.bounds(queries[:1]), sketch.bounds(queries)[:1], atol=ROUNDING)
