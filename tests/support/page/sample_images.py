"""Draw the images that the page offers to somebody who has none at hand.

    python -m tests.support.page.sample_images service/ui/samples

The first three show classes of ImageNet, the others classes of CIFAR-10.
"""

from __future__ import annotations

import math
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from tests.support.page.ui_images import airplane, ship

_SIDE = 1024  # drawn large and made smaller, for smooth edges
_SIZE = (256, 256)


def _canvas(colour: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (_SIDE, _SIDE), colour)
    return image, ImageDraw.Draw(image)


def clock() -> Image.Image:
    """Draw a wall clock."""
    image, draw = _canvas("#d9cbb0")
    for box, colour in (
        ((122, 132, 922, 932), "#b8a98c"),
        ((112, 112, 912, 912), "#3a2a1e"),
        ((162, 162, 862, 862), "#f7f3e8"),
    ):
        draw.ellipse(box, fill=colour)

    def ray(angle: float, start: float, end: float, width: int) -> None:
        x, y = math.sin(math.radians(angle)), -math.cos(math.radians(angle))
        draw.line([512 + start * x, 512 + start * y, 512 + end * x, 512 + end * y], fill="#1a1a1a", width=width)

    for minute in range(60):
        ray(minute * 6, *((270, 330, 18) if minute % 5 == 0 else (310, 330, 6)))
    ray(305, 0, 190, 26)
    ray(60, 0, 280, 18)
    draw.ellipse([485, 485, 539, 539], fill="#a03020")
    return image


def balloon() -> Image.Image:
    """Draw a hot-air balloon."""
    image, draw = _canvas("#8fc0ee")
    draw.ellipse([60, 700, 420, 820], fill="white")
    draw.ellipse([250, 740, 620, 850], fill="white")
    for stripe, colour in enumerate(("#d8342c", "#f2c230", "#2f6fc0", "#f2c230", "#d8342c")):
        draw.ellipse([232 + stripe * 56, 90, 792 - stripe * 56, 690], fill=colour)
    draw.polygon([(300, 560), (724, 560), (580, 760), (444, 760)], fill="#d8342c")
    draw.line([450, 760, 470, 840], fill="#555533", width=6)
    draw.line([574, 760, 554, 840], fill="#555533", width=6)
    draw.rectangle([456, 830, 568, 910], fill="#8a5a2c")
    return image


def lighthouse() -> Image.Image:
    """Draw a lighthouse on a rock in the sea."""
    image, draw = _canvas("#9cc6ea")
    draw.rectangle([0, 780, _SIDE, _SIDE], fill="#2f6288")
    draw.polygon([(200, 860), (330, 740), (740, 730), (900, 880)], fill="#6c6a5f")

    def band(top: int, bottom: int, colour: str) -> None:
        slant_top, slant_bottom = 56 * (top - 300) / 470, 56 * (bottom - 300) / 470
        corners = [
            (430 - slant_top, top),
            (594 + slant_top, top),
            (594 + slant_bottom, bottom),
            (430 - slant_bottom, bottom),
        ]
        draw.polygon(corners, fill=colour)

    band(300, 770, "#f4f2ec")
    band(380, 460, "#cc3427")
    band(560, 640, "#cc3427")
    draw.rectangle([400, 280, 624, 304], fill="#2b2b2b")
    draw.rectangle([450, 190, 574, 280], fill="#fff2a8")
    draw.polygon([(430, 190), (594, 190), (512, 110)], fill="#b52d22")
    for x in (450, 492, 532, 570):
        draw.line([x, 190, x, 280], fill="#333333", width=8)
    return image


def main(folder: str) -> None:
    """Write the files."""
    images = {"clock": clock(), "balloon": balloon(), "lighthouse": lighthouse()}
    images |= {"ship": Image.open(BytesIO(ship())), "airplane": Image.open(BytesIO(airplane()))}
    for name, image in images.items():
        image.resize(_SIZE, Image.Resampling.LANCZOS).save(Path(folder, f"{name}.webp"), quality=80, method=6)


if __name__ == "__main__":
    main(sys.argv[1])
