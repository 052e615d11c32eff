"""A study: trials of a recipe with values from ranges, each a run in a folder of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from training.errors import NonFiniteLossError, OutputError, RecipeError
from training.recipe.keys import Recipe
from training.recipe.loading import load_recipe
from training.run.output.folder import accuracy
from training.run.output.lock import LOCK, RunLock
from training.run.trainer import train
from training.storage.history import Row
from training.tuning.ranges import Range, parse_ranges

STORAGE = "study.db"
_NAME = "tune"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Before a trial is cut short, so many were seen to the end.
_WHOLE_TRIALS = 5


@dataclass(frozen=True)
class TrialResult:
    """The outcome of one trial.

    Attributes:
        number: Counted from 0.
        outcome: ``complete``; ``pruned``, cut short, for it fell behind; ``diverged``, its loss was not finite; or
            ``interrupted``.
        accuracy: Its best validation accuracy, a share of 1; None before the first validation.
        epochs: Its latest validated epoch.
        values: What it tried, by key.
        folder: Its run.
    """

    number: int
    outcome: str
    accuracy: float | None
    epochs: int
    values: dict[str, Any]
    folder: Path


@dataclass(frozen=True)
class TuningResult:
    """All trials of a study.

    Attributes:
        trials: In order.
    """

    trials: tuple[TrialResult, ...]

    @property
    def best(self) -> TrialResult | None:
        """The complete trial of the highest accuracy; None where none is complete."""
        complete = [trial for trial in self.trials if trial.outcome == "complete"]
        return max(complete, key=lambda trial: trial.accuracy or 0.0, default=None)


class _Pruned(Exception):
    """A trial is not worth its remaining epochs."""


def tune(
    recipe: str | Path,
    overrides: Sequence[str],
    ranges: Sequence[str],
    trials: int,
    resume: bool = False,
    console: Console | None = None,
) -> TuningResult:
    """Train a recipe with values from ranges until a number of trials is finished.

    Values are Optuna's tree-structured Parzen estimator's. A trial whose validation accuracy is below the median of
    the earlier ones at the same epoch is cut short. The study is kept in the output folder as an SQLite file; each
    trial is a run's folder beside it.

    Args:
        recipe: A YAML file, or the name of a bundled recipe.
        overrides: Of all trials, ``key=value``; the key `output` is the study's folder.
        ranges: As `parse_ranges` takes them.
        trials: How many to finish, those of earlier calls included.
        resume: Go on with the study in the output folder, and with a trial that was interrupted.
        console: Where progress goes; None is the standard error stream.

    Raises:
        RecipeError: A range or the recipe cannot be used.
        OutputError: The output folder cannot be used, or holds a study of other settings.
        TrainingInterrupted: A signal arrived; with `resume` the trial goes on.
        DataError: As `train`.
        CheckpointError: As `train`.
    """
    console = console or Console(stderr=True)
    searched = parse_ranges(ranges)
    checked = _checked(recipe, overrides, searched)
    output = checked.output
    _check_folder(output, resume)
    with RunLock(output):
        study = _open(output, checked, ranges)
        _continue_interrupted(study)
        while sum(trial.state in _FINISHED for trial in study.get_trials(deepcopy=False)) < trials:
            _run(study, recipe, overrides, searched, output, console)
        return _result(study, output)


def _checked(recipe: str | Path, overrides: Sequence[str], ranges: Sequence[Range]) -> Recipe:
    """Check a recipe with every end of every range, before the first trial."""
    found = load_recipe(recipe, overrides)
    for each in ranges:
        for value in each.ends():
            load_recipe(recipe, [*overrides, f"{each.key}={value}"])
        if each.key == "output":
            raise RecipeError("--range output: every trial has a folder of its own")
    return found


def _check_folder(output: Path, resume: bool) -> None:
    if output.exists() and not output.is_dir():
        raise OutputError(f"output {output} is not a folder")
    if not output.is_dir() or all(entry.name == LOCK for entry in output.iterdir()):
        return
    if not (output / STORAGE).is_file():
        raise OutputError(f"output folder {output} holds files but no study: choose another with output=FOLDER")
    if not resume:
        raise OutputError(
            f"output folder {output} holds a study: pass --resume auto to continue it, or choose another with "
            "output=FOLDER"
        )


def _open(output: Path, recipe: Recipe, ranges: Sequence[str]) -> optuna.Study:
    """Open the study of a folder, or begin one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # every trial has its own lines
    study = optuna.create_study(
        storage=f"sqlite:///{output.absolute() / STORAGE}",
        study_name=_NAME,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_WHOLE_TRIALS, n_warmup_steps=1),
    )
    # Not the values that an earlier call has drawn already.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.get_trials(deepcopy=False)))
    settings = recipe.model_dump(mode="json", exclude={"output"}) | {"ranges": sorted(ranges)}
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("settings", settings)
    elif before != settings:
        changed = sorted(key for key in settings.keys() | before.keys() if settings.get(key) != before.get(key))
        raise OutputError(
            f"the study in {output} was begun with other settings ({', '.join(changed)}); continue it with the same "
            "ones, or choose another with output=FOLDER"
        )
    return study


def _continue_interrupted(study: optuna.Study) -> None:
    """Have the trials that an earlier process left unfinished come next, each in the folder that it has."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.enqueue_trial(trial.params, user_attrs={"folder": _folder(trial)})
        study.tell(trial.number, state=TrialState.FAIL)


def _folder(trial: optuna.Trial | FrozenTrial) -> str:
    return str(trial.user_attrs.get("folder", f"trial-{trial.number:04d}"))


def _run(
    study: optuna.Study,
    recipe: str | Path,
    overrides: Sequence[str],
    ranges: Sequence[Range],
    output: Path,
    console: Console,
) -> None:
    """Train one trial."""
    trial = study.ask()
    folder = output / _folder(trial)
    values = [f"{each.key}={each.suggest(trial)}" for each in ranges]
    console.print(f"trial {trial.number}: {', '.join(values)}", soft_wrap=True, highlight=False, markup=False)

    def after_epoch(row: Row) -> None:
        found = accuracy(row)
        if found is not None:
            trial.report(found, step=int(row["epoch"]))
            if trial.should_prune():
                raise _Pruned

    try:
        result = train(
            load_recipe(recipe, [*overrides, *values, f"output={folder}"]),
            resume=folder.exists(),
            console=console,
            after_epoch=after_epoch,
        )
    except _Pruned:
        console.print(f"trial {trial.number} cut short: below the median of the earlier ones")
        study.tell(trial, state=TrialState.PRUNED)
    except NonFiniteLossError as error:
        # Pruned, not failed: the search learns to keep away from it.
        console.print(f"trial {trial.number}: {error}", soft_wrap=True, highlight=False, markup=False)
        trial.set_user_attr("diverged", True)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, result.best_accuracy)


def _result(study: optuna.Study, output: Path) -> TuningResult:
    trials = study.get_trials(deepcopy=False)
    continued = {_folder(trial) for trial in trials if trial.state != TrialState.FAIL}
    return TuningResult(
        tuple(
            _row(trial, output)
            for trial in trials
            if trial.state != TrialState.FAIL or _folder(trial) not in continued
        )
    )


def _row(trial: FrozenTrial, output: Path) -> TrialResult:
    validated: Mapping[int, float] = trial.intermediate_values
    outcomes = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    outcome = "diverged" if trial.user_attrs.get("diverged") else outcomes.get(trial.state, "interrupted")
    return TrialResult(
        number=trial.number,
        outcome=outcome,
        accuracy=trial.value if outcome == "complete" else max(validated.values(), default=None),
        epochs=max(validated, default=0),
        values=dict(trial.params),
        folder=output / _folder(trial),
    )
