"""Commands share the trials of an experiment: each runs those that it is asked for, and all read the rest."""

from dataclasses import dataclass

import pytest

from training.errors import DataError
from training.experiments.budget import Budget, NotChosen, OutOfTime, run_chosen, trial_name


@dataclass(frozen=True)
class Trial:
    name: str


TRIALS = [Trial("ait-seed-0"), Trial("ait-seed-1"), Trial("vit-seed-0")]


def chosen(only: str) -> list[str]:
    budget = Budget(only=only)

    def run(trial: Trial) -> str:
        if not budget.includes(trial.name):
            raise NotChosen
        return trial.name.upper()

    return [result for _, result in run_chosen(TRIALS, run)]


def test_names_are_those_of_files() -> None:
    assert trial_name("CIFAR-10", "AiT, wide: 1/2", "seed 0") == "cifar-10-ait-wide-1-2-seed-0"


def test_patterns_choose_trials() -> None:
    assert chosen("*") == ["AIT-SEED-0", "AIT-SEED-1", "VIT-SEED-0"]
    assert chosen("*-seed-0") == ["AIT-SEED-0", "VIT-SEED-0"]
    with pytest.raises(DataError, match="there are: ait-seed-0, ait-seed-1, vit-seed-0"):
        chosen("AIT*")


def test_a_budget_is_used_up() -> None:
    Budget().check()
    Budget(1e9).check()
    with pytest.raises(OutOfTime, match="run it again"):
        Budget(0).check()
