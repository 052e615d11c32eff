"""Write the images that two models differ on."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from ait_lite.checkpoint import atomic_file


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows as CSV, under the names of their columns.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
