"""The two protocols train models of one size, and each has a table of its own."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from training.experiments.budget import Budget, NotChosen
from training.experiments.outcome import Outcome
from training.experiments.relational import joint, published
from training.experiments.relational.model import RelationalModel
from training.experiments.relational.trial import RelationalTrial, _rate, run_trial
from training.experiments.tables.published import PARAMETERS

TINY = {"dim": 16, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("protocol", [joint, published])
def test_models_are_as_large_as_each_other(protocol: ModuleType, full: bool) -> None:
    sizes: dict[object, list[int]] = {}
    for trial in protocol.trials(full, 0):
        if trial.model["dim"] == 768:
            continue  # the paper's own size
        with torch.device("meta"):
            model = RelationalModel(**trial.model)
        count = sum(parameter.numel() for parameter in model.parameters())
        sizes.setdefault(trial.model.get("patch_size"), []).append(count)
    for counts in sizes.values():
        assert max(counts) < min(4e6, 1.1 * min(counts))


@pytest.mark.parametrize(("full", "patches"), [(False, {15}), (True, {15, 5})])
def test_the_published_protocol_asks_binary_questions_of_tokens_that_read_them(full: bool, patches: set[int]) -> None:
    trials = published.trials(full, 0)
    assert len({trial.name for trial in trials}) == len(trials)
    assert {trial.kinds for trial in trials} == {("binary",)}
    assert all(trial.faithful and trial.model["mutual"] for trial in trials)
    assert {trial.model["patch_size"] for trial in trials} == patches
    assert {trial.seed for trial in trials} == ({0, 1, 2} if full else {0})


def outcome(protocol: ModuleType, trial: RelationalTrial, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.setattr(protocol, "trials", lambda full, seed: [trial])
    found: Outcome = protocol.run(False, 0, None, folder, Budget())
    return found


def test_each_protocol_reports_the_questions_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = RelationalTrial("AiT", {"kind": "ait", **TINY}, images=16, epochs=1, batch_size=8)
    told = outcome(joint, short, tmp_path, monkeypatch)
    header, _, row, *theirs = [line for line in told.markdown.splitlines() if line.startswith("|")]
    assert header.split(" | ")[-3:] == ["non-relational", "binary", "ternary |"]
    theirs, (other, _, *disturbed) = theirs[:2], theirs[2:]
    assert other.split(" | ") == ["| model", "less", "seed", "non-relational", "binary", "ternary |"]
    changes = [line.split(" | ")[1] for line in disturbed]
    assert changes == ["AiT, retrieval off", "AiT, equal priors", "AiT, shuffled priors"]
    accuracy = run_trial(short, tmp_path, Budget())["accuracy"]
    assert row.split(" | ")[-1] == f"{100 * accuracy['ternary']:.1f} |"
    assert [line.split(" | ")[0] for line in theirs] == ["| AiT-Base (theirs)", "| Relation Networks (theirs)"]
    assert {check.name for check in told.checks} == {"AiT, non-relational", "AiT, binary"}

    alone = RelationalTrial(
        "ViT", {"kind": "vit", "mutual": True, "patch_size": 15, **TINY}, ("binary",), 16, 1, 8, faithful=True
    )
    told = outcome(published, alone, tmp_path, monkeypatch)
    header, _, _, *theirs = [line for line in told.markdown.splitlines() if line.startswith("|")]
    assert header.split(" | ")[-1] == "binary |"
    assert theirs == ["| AiT-Base (theirs) | 91.0 | – | – | – | 80.03 |"]
    assert [check.name for check in told.checks] == ["ViT, binary"]
    assert "right" not in json.dumps(list(told.figures["trials"][0]))


def test_the_full_run_has_the_papers_sizes_and_recipe(tmp_path: Path) -> None:
    found = {trial.label: trial for trial in published.trials(True, 0)}
    for label, depth in published.SIZES.items():
        trial = found[f"{label}, patch 5"]
        with torch.device("meta"):
            model = RelationalModel(**trial.model)
        assert len(model.associative_blocks()) == depth
        trained = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        # The flattened head is as wide as the patches are many; the rest is that of the paper's table.
        head = model.head.weight.numel() / 1e6
        assert trained - head == pytest.approx(PARAMETERS[label], rel=0.07)
        small = replace(trial, model=trial.model | {"dim": 16, "num_heads": 2, "patch_size": 25}, images=4, epochs=1)
        assert 0 <= run_trial(small, tmp_path, Budget())["accuracy"]["binary"] <= 1
    assert [round(1e6 * trial.lr * _rate(trial, done), 2) for done in (0.0, 0.05, 1.0)] == [10.0, 100.0, 1.0]


def test_trials_of_before_a_setting_was_there_are_read(tmp_path: Path) -> None:
    trial = RelationalTrial("ViT", {"kind": "vit", **TINY}, images=16, epochs=1, batch_size=8)
    result = run_trial(trial, tmp_path, Budget())
    path = tmp_path / f"{trial.name}.json"
    for setting in ("first_lr", "last_lr", "precision"):
        del result["settings"][setting]
    path.write_text(json.dumps(result))
    assert run_trial(trial, tmp_path, Budget(only="nothing")) == result
    with pytest.raises(NotChosen):
        run_trial(replace(trial, precision="bf16"), tmp_path, Budget(only="nothing"))
