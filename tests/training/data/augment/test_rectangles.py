"""Rectangles hold the pixels that they name."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.augment.rectangles import area, inside


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_rectangles_hold_their_area(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    top, left = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    bottom, right = data.draw(st.integers(top, height)), data.draw(st.integers(left, width))
    boxes = torch.tensor([[top, bottom, left, right]])
    expected = torch.zeros(1, 1, height, width, dtype=torch.bool)
    expected[:, :, top:bottom, left:right] = True
    assert torch.equal(inside(boxes, height, width), expected)
    assert area(boxes).item() == expected.sum()
