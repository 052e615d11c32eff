"""Read and change the ``config.json`` of a checkpoint folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ait_lite.checkpoint.atomic import write_text
from ait_lite.checkpoint.constants import CONFIG, MOST_CONFIG_BYTES
from ait_lite.checkpoint.errors import CheckpointError


def read_config(folder: Path) -> dict[str, Any]:
    """Read what a checkpoint folder's ``config.json`` holds.

    Raises:
        CheckpointError: There is no such file, it cannot be read, it is no JSON object, or it is larger than
            `MOST_CONFIG_BYTES` (whoever writes the folder must not be able to fill the reader's memory).
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}. Name that of a checkpoint, such as runs/mine/best.")
    return read_object(folder / CONFIG, MOST_CONFIG_BYTES, "Export the model again.")


def read_object(path: Path, most_bytes: int, remedy: str) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Args:
        path: The file.
        most_bytes: That it may have.
        remedy: What the message tells people to do.

    Raises:
        CheckpointError: There is no such file, it cannot be read, it is no JSON object, or it is too large.
    """
    try:
        with path.open("rb") as file:
            text = file.read(most_bytes + 1)
        if len(text) > most_bytes:
            raise ValueError(f"it is larger than {most_bytes:,} bytes")
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
    except RecursionError:
        raise CheckpointError(f"{path} cannot be read: it is nested too deeply. {remedy}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {_reason(error)}. {remedy}") from error
    return found


def update_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Replace top-level keys of a checkpoint folder's ``config.json``, atomically.

    Args:
        folder: The checkpoint folder.
        values: New values by key, each of a kind that JSON can hold.

    Raises:
        CheckpointError: There is no such file, or it cannot be read.
        OSError: It cannot be written.
    """
    write_text(folder / CONFIG, json.dumps({**read_config(folder), **values}, indent=2) + "\n")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
