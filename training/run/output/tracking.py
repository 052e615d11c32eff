"""Send the metrics of a run to the trackers that its recipe names."""

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from ait_lite.checkpoint import write_text
from training.errors import RecipeError

_PROJECT = "ait"


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed, before a run starts.

    Args:
        names: Of ``tensorboard``, ``wandb`` and ``trackio``.

    Raises:
        RecipeError: A package is missing.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"tracking names {' and '.join(missing)}, not installed here: install associative-transformer[tracking], "
            "or leave it out of the recipe's tracking"
        )


class Trackers:
    """Send metrics to the trackers of a run, from its main process; a context manager.

    A resumed run goes on where its checkpoint was: TensorBoard drops what a killed run logged after it, wandb and
    trackio continue the run they know by ``tracking/run.json`` and are told no step twice.

    Args:
        names: Of ``tensorboard``, ``wandb`` and ``trackio``.
        folder: The run's folder. TensorBoard's files go to ``tracking/tensorboard`` in it.
        settings: The recipe as JSON values, for trackers that show one.
        step: Updates done, of the checkpoint that the run continues from; 0 at the start.

    Raises:
        RecipeError: As `check_trackers`.
    """

    def __init__(self, names: Sequence[str], folder: Path, settings: Mapping[str, Any], step: int = 0) -> None:
        check_trackers(names)
        self._trackers: list[GeneralTracker] = []
        if not names:
            return
        home = folder / "tracking"
        home.mkdir(parents=True, exist_ok=True)
        # Which run the trackers know, and the last step they were told; a new run where none was.
        self._ledger = home / "run.json"
        known = json.loads(self._ledger.read_text(encoding="utf-8")) if step and self._ledger.is_file() else {}
        self._run: dict[str, Any] = {"id": secrets.token_hex(4), "step": 0} | known
        write_text(self._ledger, json.dumps(self._run))
        run_id = self._run["id"]
        # Trackers know a run by one word in a list of runs.
        name = f"{folder.resolve().name}-{run_id}"
        for kind in dict.fromkeys(names):
            tracker: GeneralTracker
            if kind == "tensorboard":
                tracker = TensorBoardTracker(kind, home, purge_step=step + 1)
            elif kind == "wandb":
                tracker = WandBTracker(
                    _PROJECT, id=run_id, name=name, resume="allow", dir=str(home), config=dict(settings)
                )
            else:
                tracker = TrackioTracker(_PROJECT, name=name, resume="allow", config=dict(settings))
            tracker.start()
            self._trackers.append(tracker)

    def log(self, row: Mapping[str, float]) -> None:
        """Send one epoch's metrics, at its ``step``.

        Call it before the epoch's checkpoint is written: then none is lost to a kill between the two.
        """
        step = int(row["step"])
        values = {name: value for name, value in row.items() if name != "step" and math.isfinite(value)}
        for tracker in self._trackers:
            if tracker.name == "tensorboard" or step > self._run["step"]:
                tracker.log(values, step=step)
        if self._trackers and step > self._run["step"]:
            self._run["step"] = step
            write_text(self._ledger, json.dumps(self._run))

    def close(self) -> None:
        """Send what is left, and end the trackers."""
        for tracker in self._trackers:
            tracker.finish()
        self._trackers.clear()

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
