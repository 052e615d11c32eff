"""Sections of a page of documentation that commands write."""

from pathlib import Path

from ait_lite.checkpoint import write_text
from training.errors import DataError


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
