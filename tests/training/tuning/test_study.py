"""A study tries values, keeps every trial as a run, goes on where it stopped, and cuts short what falls behind."""

import signal
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.processes.training_runs import MakeRecipe, write_recipe
from training.errors import NonFiniteLossError, OutputError, RecipeError, TrainingInterrupted
from training.run.trainer import TrainingResult, train
from training.storage.history import read_metrics
from training.tuning import study
from training.tuning.study import tune

RANGES = ["optimizer.lr=1e-4..1e-1:log", "augment.flip=true|false"]


@pytest.fixture
def recipe_file(make_recipe: MakeRecipe, tmp_path: Path) -> Path:
    recipe = make_recipe(epochs=2, output=str(tmp_path / "study"), exemplars=0)
    return write_recipe(recipe, tmp_path / "recipe.yaml")


def test_a_study_is_runs_and_goes_on(recipe_file: Path, quiet: Console, tmp_path: Path) -> None:
    first = tune(recipe_file, ["ema_decay=null"], RANGES, trials=2, console=quiet)
    assert [(trial.number, trial.outcome, trial.epochs) for trial in first.trials] == [
        (0, "complete", 2),
        (1, "complete", 2),
    ]
    for trial in first.trials:
        accuracies = [row["val_acc"] for row in read_metrics(trial.folder / "metrics.jsonl")]
        assert trial.accuracy == max(accuracies)
        assert set(trial.values) == {"optimizer.lr", "augment.flip"}
        assert f"lr: {trial.values['optimizer.lr']!r}" in (trial.folder / "recipe.yaml").read_text()
    best = first.best
    assert best is not None
    assert best.accuracy == max(trial.accuracy or 0 for trial in first.trials)
    with pytest.raises(OutputError, match="holds a study: pass --resume auto"):
        tune(recipe_file, ["ema_decay=null"], RANGES, trials=3, console=quiet)
    with pytest.raises(OutputError, match=r"other settings \(epochs\)"):
        tune(recipe_file, ["ema_decay=null", "epochs=3"], RANGES, trials=3, resume=True, console=quiet)
    second = tune(recipe_file, ["ema_decay=null"], RANGES, trials=3, resume=True, console=quiet)
    assert second.trials[:2] == first.trials
    assert len(second.trials) == 3
    assert len({trial.values["optimizer.lr"] for trial in second.trials}) == 3


def test_an_interrupted_trial_goes_on_in_its_folder(
    recipe_file: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **keywords: object) -> TrainingResult:
        original = keywords["after_epoch"]

        def after_epoch(row: dict[str, float]) -> None:
            original(row)  # type: ignore[operator]
            signal.raise_signal(signal.SIGTERM)

        return train(*args, **{**keywords, "after_epoch": after_epoch})  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(study, "train", interrupted)
        with pytest.raises(TrainingInterrupted):
            tune(recipe_file, [], RANGES, trials=1, console=quiet)
    (trial,) = tune(recipe_file, [], RANGES, trials=1, resume=True, console=quiet).trials
    assert (trial.number, trial.outcome, trial.folder.name) == (1, "complete", "trial-0000")
    assert [row["epoch"] for row in read_metrics(trial.folder / "metrics.jsonl")] == [1, 2]


def test_trials_that_fall_behind_or_diverge_end_early(
    recipe_file: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is trained: the curves are given."""
    curves = [[0.5, 0.9], *[[0.5, 0.8]] * 4, [0.1, 0.2]]

    def given(recipe: object, after_epoch: object, **_: object) -> TrainingResult:
        if not curves:
            raise NonFiniteLossError("the loss is not finite")
        accuracies = curves.pop(0)
        for epoch, value in enumerate(accuracies, 1):
            after_epoch({"epoch": epoch, "val_acc": value})  # type: ignore[operator]
        return TrainingResult(tmp_path, tmp_path, 2, max(accuracies), [])

    monkeypatch.setattr(study, "train", given)
    result = tune(recipe_file, [], RANGES, trials=7, console=quiet)
    assert [trial.outcome for trial in result.trials] == ["complete"] * 5 + ["pruned", "diverged"]
    assert result.best == result.trials[0]
    assert result.trials[6].accuracy is None


def test_what_cannot_be_searched_is_refused_before_the_first_trial(recipe_file: Path, tmp_path: Path) -> None:
    for ranges, message in (
        (["optimiser.lr=1..2"], "unknown key 'optimiser'"),
        (["optimizer.lr=-1..1"], "optimizer.lr"),
        (["output=a|b"], "a folder of its own"),
    ):
        with pytest.raises(RecipeError, match=message):
            tune(recipe_file, [], ranges, trials=1)
    assert not (tmp_path / "study").exists()
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="no study"):
        tune(recipe_file, [], RANGES, trials=1, resume=True)
