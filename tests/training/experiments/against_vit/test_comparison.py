"""AiT is compared with the ViT of as many parameters, and with the smallest that is as good."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from training.experiments.against_vit import comparison
from training.experiments.against_vit.comparison import outcome
from training.experiments.against_vit.entries import Entry
from training.experiments.blocks.trial import Trial

IMAGES = 400


def trials(name: str, parameters: int, shares: Sequence[float]) -> list[Trial]:
    """A trial for each share of right answers, which are the first ones."""
    found = []
    for seed, share in enumerate(shares):
        right = {"on": torch.arange(IMAGES) < share * IMAGES}
        if not name.startswith("ViT"):
            right |= {change: torch.zeros(IMAGES // 4, dtype=torch.bool) for change in ("off", "equal", "shuffled")}
        found.append(Trial(name, seed, parameters, 10 * parameters, 1.0, right))
    return found


STEPS = {"AiT": 0.02, "latent workspace": 0.03, "ViT 72": 0.005, "ViT 96": 0.01, "ViT 108": 0.015}
TABLE = {
    "AiT": trials("AiT", 1_000_000, [0.8, 0.82]),
    "latent workspace": trials("latent workspace", 760_000, [0.95, 0.95]),
    "ViT 72": trials("ViT 72", 500_000, [0.6, 0.62]),
    "ViT 96": trials("ViT 96", 800_000, [0.8, 0.82]),
    "ViT 108": trials("ViT 108", 1_010_000, [0.7, 0.74]),
}


def test_costs_and_differences() -> None:
    found = outcome({"Triangle": TABLE}, {"Triangle": STEPS})
    figures = found.figures["Triangle"]["AiT"]
    assert figures["accuracy"] == pytest.approx(0.81)
    assert figures["beside"] == {"name": "ViT 108", "parameters": 1.01}
    assert figures["over ViT 108"]["mean"] == pytest.approx(0.09)
    assert figures["over ViT 108"]["over_images"] == pytest.approx(1.96 * 0.2587 / 20, rel=0.01)
    assert figures["as good"] == "ViT 96"
    assert figures["off"]["mean"] == pytest.approx(-0.81)
    assert found.figures["Triangle"]["latent workspace"]["as good"] is None
    assert "as good" not in found.figures["Triangle"]["ViT 96"]
    assert found.passed
    for line in (
        "| AiT | 1.00 | 10.0 | 20.0 | 81.0 | ViT 108: +9.0 ± ",
        "| ViT 96: 0.80, 0.80, 0.50 |",
        "| latent workspace | 0.76 |",
        "| none |",
    ):
        assert line in found.markdown
    assert len(found.figure.axes) == 1


def test_a_table_may_lack_contestants_and_seeds() -> None:
    alone = outcome(
        {"Triangle": {"AiT": TABLE["AiT"]}, "Sort-of-CLEVR, binary": {"ViT 96": TABLE["ViT 96"][:1]}},
        {"Triangle": STEPS, "Sort-of-CLEVR, binary": STEPS},
    )
    assert "beside" not in alone.figures["Triangle"]["AiT"]
    assert len(alone.figure.axes) == 2
    later = outcome({"Triangle": {"AiT": TABLE["AiT"][1:], "ViT 108": TABLE["ViT 108"][:1]}}, {"Triangle": STEPS})
    assert "over ViT 108" not in later.figures["Triangle"]["AiT"]
    assert later.figures["Triangle"]["AiT"]["as good"] is None


def test_what_has_learnt_nothing_fails() -> None:
    guessing = {"AiT": trials("AiT", 1_000_000, [0.5, 0.5])}
    assert not outcome({"Triangle": guessing}, {"Triangle": STEPS}).passed
    unequal = {"AiT": TABLE["AiT"], "latent workspace": TABLE["latent workspace"], "ViT 72": TABLE["ViT 72"]}
    checks = outcome({"Triangle": unequal}, {"Triangle": STEPS}).checks
    assert [check.name for check in checks if not check.passed] == [
        "Triangle, AiT: parameters of the ViT beside it, share",
        "Triangle, latent workspace: parameters of the ViT beside it, share",
    ]


def test_steps_are_timed_of_each_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(model: nn.Module) -> Tensor:
        return torch.zeros(())

    def second(model: nn.Module) -> Tensor:
        return torch.zeros(())

    timed = []

    def step_times(models: dict[str, nn.Module], loss: Callable[[nn.Module], Tensor]) -> dict[str, float]:
        timed.append((loss, [*models]))
        return dict.fromkeys(models, float(len(timed)))

    monkeypatch.setattr(comparison, "step_times", step_times)
    chosen = [
        Entry(name, f"{name} {seed}", dict, nn.Identity, loss)
        for loss in (first, second)
        for name in ("AiT", "ViT")
        for seed in range(2)
    ]
    assert comparison._step_times(chosen) == {first: {"AiT": 1.0, "ViT": 1.0}, second: {"AiT": 2.0, "ViT": 2.0}}
    assert timed == [(first, ["AiT", "ViT"]), (second, ["AiT", "ViT"])]
