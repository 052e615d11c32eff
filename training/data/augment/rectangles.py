"""Axis-parallel rectangles of pixels, one an image: what random erasing and cutmix replace."""

import torch
from torch import Tensor


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in each rectangle.

    Args:
        boxes: (B, 4) int64: first row, row after the last, first column, column after the last.
        height: Rows of an image.
        width: Columns of an image.

    Returns:
        (B, 1, H, W) bool.
    """
    top, bottom, left, right = boxes[:, :, None].unbind(1)  # each (B, 1)
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    in_rows = (rows >= top) & (rows < bottom)  # (B, H)
    in_columns = (columns >= left) & (columns < right)  # (B, W)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def area(boxes: Tensor) -> Tensor:
    """Pixels in each rectangle: (B, 4) to (B,) int64."""
    return (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
