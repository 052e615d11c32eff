"""The metrics of a run as files: a table for spreadsheets, and JSON lines for programs."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ait_lite.checkpoint import write_text

# The metrics of one epoch, by name.
Row = dict[str, float]


def write_metrics(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write ``metrics.csv`` and ``metrics.jsonl``, one row per epoch, each replaced atomically.

    Args:
        folder: An existing folder.
        history: One row of metrics per epoch. What is not finite becomes null in JSON, which has no such numbers.

    Raises:
        OSError: A file cannot be written.
    """
    write_table(folder / "metrics.csv", history)
    numbers = ({name: value if math.isfinite(value) else None for name, value in row.items()} for row in history)
    write_text(folder / "metrics.jsonl", "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in numbers))


def write_table(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write rows as a CSV file, atomically; its columns are those of all rows, in order of appearance.

    Raises:
        OSError: The file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())


def read_metrics(path: Path) -> list[Row]:
    """Read the rows of a ``metrics.jsonl``; numbers that were not finite are left out.

    Raises:
        OSError: The file cannot be read.
    """
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
