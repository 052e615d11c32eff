"""Sections of a page of documentation that commands write, and the files that it shows and links."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ait_lite.checkpoint import atomic_file, write_text
from training.errors import DataError

# The target of a Markdown link or image.
_TARGET: Final = re.compile(r"\]\(([^()\s]+)\)")


def replace_linked(page: Path, files: Iterable[Path]) -> list[Path]:
    """Replace the files that a page links in folders beside it by new ones of the same names.

    Args:
        page: A Markdown file.
        files: New ones; those that the page does not link are left out.

    Returns:
        What was written.

    Raises:
        OSError: The page cannot be read, or a file cannot be written.
    """
    targets = _TARGET.findall(page.read_text(encoding="utf-8"))
    written = []
    for file in files:
        for target in dict.fromkeys(targets):
            if "://" not in target and Path(target).name == file.name:
                place = page.parent / target
                place.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(place) as temporary:
                    shutil.copyfile(file, temporary)
                written.append(place)
    return written


def replace_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Args:
        page: A Markdown file.
        name: Of the section.
        text: Markdown to put there.

    Raises:
        DataError: The page has no such section.
        OSError: The page cannot be read or written.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    old = page.read_text(encoding="utf-8")
    before, opened, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise DataError(f"{page} has no section {name}: put {begin} and {end} where it shall stand")
    write_text(page, f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
