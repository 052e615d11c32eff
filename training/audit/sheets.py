"""Contact sheets: images of findings, side by side, with what they are called."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

_SIDE: Final = 112  # pixels of an image
_GAP: Final = 10
_LINE: Final = 14
_LINES: Final = 3
_LETTERS: Final = 20  # of a line that fits beneath an image
_PAIRS: Final = 4  # in a row
_INK: Final = (30, 30, 30)


class Captioned(NamedTuple):
    """An image and what stands beneath it, at most three lines."""

    image: Image.Image
    lines: Sequence[str]


def draw_sheet(pairs: Sequence[tuple[Captioned, Captioned | None]], path: Path) -> None:
    """Draw pairs of images as a PNG file, four pairs in a row.

    Args:
        pairs: Each finding's image and the one beside it, if any.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    cell_width, cell_height = _SIDE + _GAP, _SIDE + _LINES * _LINE + _GAP
    columns = min(_PAIRS, max(1, len(pairs)))
    rows = -(-len(pairs) // columns)
    pair_width = 2 * cell_width + _GAP
    sheet = Image.new("RGB", (columns * pair_width + _GAP, rows * cell_height + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, pair in enumerate(pairs):
        left, top = _GAP + (place % columns) * pair_width, _GAP + (place // columns) * cell_height
        for offset, shown in enumerate(pair):
            if shown is None:
                continue
            x = left + offset * cell_width
            # Small images are enlarged without smoothing, so that their pixels can be compared.
            scale = min(_SIDE / shown.image.width, _SIDE / shown.image.height)
            size = max(1, round(shown.image.width * scale)), max(1, round(shown.image.height * scale))
            method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
            sheet.paste(shown.image.resize(size, method), (x, top))
            for number, line in enumerate(shown.lines[:_LINES]):
                text = line if len(line) <= _LETTERS else f"…{line[1 - _LETTERS :]}"
                pen.text((x, top + _SIDE + 1 + number * _LINE), text, fill=_INK, font=font)
    sheet.save(path)
