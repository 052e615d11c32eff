"""Where, and by which command, each trial of an experiment was trained: several machines may share them."""

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any, Final

from ait_lite.checkpoint import write_text
from training.run.output.provenance import environment

_SUFFIX: Final = ".environment.json"


def experiment_environment() -> dict[str, Any]:
    """Collect versions, command, git state, processor and accelerator, as JSON values."""
    return environment() | {"command": _command(), "processor": _processor()}


def record_environment(folder: Path, name: str) -> None:
    """Write beside a trial's files where it was trained, or where its training ended.

    Args:
        folder: Of the trials.
        name: Of the trial.
    """
    write_text(folder / (name + _SUFFIX), json.dumps(experiment_environment(), indent=1) + "\n")


def recorded_environments(folder: Path) -> list[dict[str, Any]]:
    """Read where the trials of a folder were trained: each environment once, with the names of its ``trials``."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        text = path.read_text()
        found.setdefault(text, json.loads(text) | {"trials": []})["trials"].append(path.name.removesuffix(_SUFFIX))
    return list(found.values())


def _command() -> str:
    """Write the command without the folder that its program is in."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _processor() -> str:
    """Name the processor and say how many cores there are."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
