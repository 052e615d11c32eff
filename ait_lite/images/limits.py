"""How large an image may be."""

from __future__ import annotations

from dataclasses import dataclass

from ait_lite.images.errors import TooManyPixels, UndecodableImage


@dataclass(frozen=True)
class ImageLimits:
    """Most pixels of an image, and most times its longer side may exceed its shorter one."""

    pixels: int = 50_000_000
    aspect: float = 100.0


def check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    """Check the width and height of an image, in pixels.

    Raises:
        TooManyPixels: There are more than the limit.
        UndecodableImage: There are none, or one side is too long for the other.
    """
    width, height = size
    if width < 1 or height < 1:
        raise UndecodableImage(f"The image is {width} x {height} pixels: there is nothing to see.")
    if width * height > limits.pixels:
        raise TooManyPixels(
            f"The image is {width} x {height} = {width * height:,} pixels; at most {limits.pixels:,} are "
            "accepted. Make it smaller."
        )
    if max(size) > limits.aspect * min(size):
        raise UndecodableImage(
            f"The image is {width} x {height} pixels; its longer side may be at most {limits.aspect:g} "
            "times the shorter one. Cut a part out of it."
        )
