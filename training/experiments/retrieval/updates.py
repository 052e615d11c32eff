"""What each update rule recalls: keys written once, too many keys, and keys overwritten (arXiv 2505.19488)."""

import torch
import torch.nn.functional as F

from ait.memory.outer_product import RULES, parallel
from training.experiments import style
from training.experiments.outcome import Check, Outcome

DIM, CODES = 64, 256
CASES = {"32 keys once": (32, 1), "128 keys once": (128, 1), "32 keys, 8 times": (32, 8)}
PARAMETERS = {
    "hebbian": (1.0, 1.0),
    "ewma": (0.1, 1.0),
    "decay": (1.0, 0.99),
    "delta": (1.0, 1.0),
    "gated_delta": (1.0, 0.99),
}


def recall_accuracy(rule: str, keys: int, times: int, trials: int, seed: int) -> float:
    """Measure how often the latest value of each key is the nearest of the codebook to what the memory returns.

    Args:
        rule: Update rule.
        keys: Number of distinct keys, random unit vectors.
        times: How often each key is written, each time with another value, round after round.
        trials: Number of independent memories.
        seed: Seed of keys, codebook and values.

    Returns:
        Share of keys whose latest value is recalled.
    """
    generator = torch.Generator().manual_seed(seed)
    stored = F.normalize(torch.randn(trials, keys, DIM, generator=generator), dim=-1)
    codebook = F.normalize(torch.randn(trials, CODES, DIM, generator=generator), dim=-1)
    codes = torch.randint(CODES, (trials, times * keys), generator=generator)
    values = codebook.gather(1, codes.unsqueeze(-1).expand(-1, -1, DIM))
    written = stored.repeat(1, times, 1)
    _, memory = parallel(written, written, values, rule, *PARAMETERS[rule])
    answers = (stored @ memory.mT @ codebook.mT).argmax(-1)  # (trials, keys)
    return float((answers == codes[:, -keys:]).float().mean())


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Compare the rules; delta must beat hebbian by 0.5 once keys are overwritten, and hebbian hold most keys once."""
    trials = 64 if full else 16
    accuracy = {rule: [recall_accuracy(rule, *case, trials, seed) for case in CASES.values()] for rule in RULES}
    overwritten = {rule: values[2] for rule, values in accuracy.items()}
    once = {rule: values[1] for rule, values in accuracy.items()}
    others = max(value for rule, value in once.items() if rule != "hebbian")
    checks = [
        Check("delta less hebbian, 32 keys, 8 times", overwritten["delta"] - overwritten["hebbian"], 0.5, 1.0),
        Check("hebbian less the best other rule, 128 keys once", once["hebbian"] - others, 0.0, 1.0),
        Check("hebbian, 32 keys once", accuracy["hebbian"][0], 0.99, 1.0),
        Check("delta, 32 keys once", accuracy["delta"][0], 0.97, 1.0),
        Check("delta, 32 keys, 8 times", overwritten["delta"], 0.95, 1.0),
    ]
    figure, (axes,) = style.new_figure()
    style.bars(axes, list(CASES), accuracy)
    axes.set(ylabel="latest value recalled", ylim=(0, 1.05))
    return Outcome(
        f"Recall of the latest value by update rule, width {DIM}",
        checks,
        figure,
        {"accuracy": accuracy, "trials": trials},
    )
