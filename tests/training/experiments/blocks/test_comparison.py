"""Designs and their controls: equal sizes where they claim it, and figures of trials."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.processes.budgets import Questions
from training.experiments.blocks.comparison import difference, drawn, outcome
from training.experiments.blocks.designs import DESIGNS, MergeSimilar, PoolPatches, Size, multiply_adds, parameters
from training.experiments.blocks.training import Training, _shifted
from training.experiments.blocks.trial import Trial, TrialPlan, run_kept_trial, run_trial
from training.experiments.budget import Budget, NotChosen, OutOfTime

TINY = Size(image=16, classes=10, width=16, heads=2, merged=4, prototypes=16, priors=4)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_learns_all_that_it_has(name: str) -> None:
    torch.manual_seed(0)
    model = DESIGNS[name].make(TINY).train()
    images = torch.randn(8, 3, 16, 16)
    if hasattr(model, "forward_training"):
        logits, extra = (output := model.forward_training(images)).logits, output.balance_loss
    else:
        logits, within = model.forward_supervised(images)
        extra = sum((found.square().sum() for found in within), torch.zeros(()))
    (logits.square().sum() + extra).backward()
    assert logits.shape == (8, 10)
    assert [key for key, value in model.named_parameters() if value.grad is None] == []


def test_controls_are_as_large_or_as_dear_as_the_designs() -> None:
    size = Size()
    of_size = [("shared", "vit-1"), ("patch-prototypes", "vit-wide"), ("workspace", "vit"), ("merge", "pool")]
    of_cost = [("shared", "vit"), ("workspace", "pool-shared"), ("merge", "pool"), ("attention", "vit")]
    made = {name: DESIGNS[name].make(size) for pair in of_size + of_cost for name in pair}
    for name, control in of_size:
        assert parameters(made[name]) == pytest.approx(parameters(made[control]), rel=0.06)
    for name, control in of_cost:
        assert multiply_adds(made[name], size) == pytest.approx(multiply_adds(made[control], size), rel=0.06)


def test_multiply_adds_count_attention_too() -> None:
    width, tokens = TINY.width, 16
    block = 12 * width**2 * tokens + 2 * tokens**2 * width
    assert multiply_adds(DESIGNS["vit"].make(TINY), TINY) == 2 * block + 48 * width * tokens + 10 * width


def test_anchors_average_squares_and_the_most_similar() -> None:
    grid = torch.arange(16.0).view(1, 16, 1)
    assert PoolPatches(4)(grid).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    tokens = torch.tensor([[[1.0, 0.1], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(MergeSimilar()(tokens), torch.tensor([[[4 / 3, 0.1 / 3], [0.0, 1.0]]]))


def test_differences_are_paired() -> None:
    ours = [torch.tensor([1, 1, 1, 0]).bool(), torch.tensor([1, 1, 0, 0]).bool()]
    theirs = [torch.tensor([1, 0, 1, 0]).bool(), torch.tensor([1, 1, 0, 0]).bool()]
    found = difference(ours, theirs)
    assert found.mean == 1 / 8
    assert found.over_images == pytest.approx(1.96 * 0.25 / 2)
    assert found.over_seeds == pytest.approx(12.71 * (0.25 / math.sqrt(2)) / math.sqrt(2))
    assert difference(ours, ours).over_images == 0
    assert difference(ours[:1], theirs[:1]).over_seeds is None


def test_a_trial_is_repeatable_and_measures_without_the_memory() -> None:
    images, training = drawn(20, 0), Training(epochs=1, batch=50)
    first, second = (run_trial("merge", images, TINY, training, 3) for _ in range(2))
    assert set(first.right) == {"on", "off", "equal", "shuffled"}
    for name, right in first.right.items():
        assert right.shape == ((50,) if name == "on" else (13,))
        assert torch.equal(right, second.right[name])
    assert set(run_trial("vit", images, TINY, training, 3).right) == {"on"}


def test_a_trial_that_was_measured_is_read(tmp_path: Path) -> None:
    images, plan = drawn(20, 0), TrialPlan("vit", TINY, Training(epochs=1, batch=50, padding=2), 3)
    with pytest.raises(OutOfTime):
        run_kept_trial(plan, images, tmp_path, Budget(0))
    with pytest.raises(NotChosen):
        run_kept_trial(plan, images, tmp_path, Budget(only="vit-seed-4"))
    trained = run_kept_trial(plan, images, tmp_path, Budget(only="vit-*"))
    read = run_kept_trial(plan, images, tmp_path, Budget(0, only="nothing"))
    assert torch.equal(read.right.pop("on"), trained.right.pop("on"))
    assert read == trained
    for others in (replace(images, std=30.0), replace(images, mean=10.0)):
        with pytest.raises(NotChosen):  # those are other images to a model
            run_kept_trial(plan, others, tmp_path, Budget(only="nothing"))
    with pytest.raises(NotChosen):  # that is another training
        run_kept_trial(replace(plan, training=Training(epochs=2)), images, tmp_path, Budget(only="nothing"))


@pytest.mark.parametrize("design", ["merge", "default", "token-prototypes"])
def test_a_trial_goes_on_after_any_epoch(design: str, tmp_path: Path) -> None:
    images, plan = drawn(20, 0), TrialPlan(design, TINY, Training(epochs=3, batch=50, padding=2), 3)
    whole = run_kept_trial(plan, images, tmp_path / "whole", Budget())
    parts = tmp_path / "parts"
    for _ in range(2):
        with pytest.raises(OutOfTime):
            run_kept_trial(plan, images, parts, Questions(1))
        assert [path.name for path in parts.iterdir()] == [f"{design}-seed-3.pt"]
    with pytest.raises(OutOfTime):  # of other settings nothing is gone on with
        run_kept_trial(replace(plan, training=Training(epochs=2, batch=50)), images, parts, Questions(1))
    with pytest.raises(OutOfTime):
        run_kept_trial(plan, images, parts, Questions(2))
    ended = run_kept_trial(plan, images, parts, Questions(1))
    assert sorted(path.suffix for path in parts.iterdir()) == [".json", ".safetensors"]
    assert all(torch.equal(right, ended.right[name]) for name, right in whole.right.items())


def test_shifted_images_keep_their_pixels() -> None:
    border = -2.0
    images = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    shifted = _shifted(images, 2, border, torch.Generator().manual_seed(0))
    corners = set()
    for before, after in zip(images, shifted, strict=True):
        places = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(
                after,
                torch.full((3, 12, 12), border).index_put(
                    (torch.arange(3)[:, None, None], torch.arange(2, 10)[:, None], torch.arange(2, 10)), before
                )[:, 2 + down : 10 + down, 2 + right : 10 + right],
            )
        ]
        assert len(places) == 1
        corners |= set(places)
    assert len(corners) > 15


def test_an_outcome_compares_the_seeds_that_both_have() -> None:
    def trial(design: str, seed: int, right: list[int]) -> Trial:
        rights = {"on": torch.tensor(2 * right).bool()}
        if design == "classes":
            rights |= {change: torch.zeros(2).bool() for change in ("off", "equal", "shuffled")}
        return Trial(design, seed, 100, 10, 1.0, rights)

    trials = {
        "vit": [trial("vit", 0, [1, 0, 0, 0]), trial("vit", 1, [1, 1, 0, 0])],
        "classes": [trial("classes", 1, [1, 1, 1, 0])],
    }
    found = outcome(trials, TINY)
    assert found.figures["classes"]["over vit"]["mean"] == 0.25
    assert found.figures["classes"]["off"]["mean"] == -1  # of every fourth image
    assert "| classes | 100 | 0.0 | 1 | 75.00 | -100.00 ± 0.00" in found.markdown
