"""Sequential learning: the relation first, then a plateau of plausible wrong answers (arXiv 2412.06538, section 5).

One layer of linear attention with one-hot embeddings, S = 16, R = 4, D = 8, T = 32, learns by gradient descent from
weights of 1e-5. The loss falls from log(R D) to log D, where the model answers from the right relation's block
whatever the subject, and stays there before it learns the facts. So it is for ordered facts, each answer for S/D
subjects, which the paper draws. Random facts are not spread evenly over a block: their plateau lies lower, at the
entropy of the answers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.experiments import style
from training.experiments.facts.task import FactTask
from training.experiments.outcome import Check, Outcome

TASK = FactTask(16, 4, 8, noise=20, length=32)
EVERY = 32


def learn(facts: Tensor, steps: int, seed: int) -> dict[str, list[float]]:
    """Train by gradient descent with rate 0.1 and batches of 1,024.

    Linear attention from the end reads ``sum_t a(x_t) v(x_t)``: a score and a row of logits for each token.

    Returns:
        Loss, accuracy, and the losses of the relation and of the subject's place alone, every 32 steps.
    """
    generator = torch.Generator().manual_seed(seed)
    score = torch.full((TASK.vocabulary,), 1e-5)
    value = torch.full((TASK.vocabulary, TASK.outputs), 1e-5)
    test_counts, test_answers = TASK.sample(4096, facts, generator)
    found: dict[str, list[float]] = {"loss": [], "accuracy": [], "relation loss": [], "subject loss": []}
    for step in range(steps + 1):
        if step % EVERY == 0:
            measured = measure((test_counts * score) @ value, test_answers)
            for name, number in measured.items():
                found[name].append(number)
        counts, answers = TASK.sample(1024, facts, generator)
        weighted = counts * score
        error = (weighted @ value).softmax(-1)
        error[torch.arange(len(answers)), answers] -= 1
        error /= len(answers)
        score_gradient = ((error @ value.mT) * counts).sum(0)
        value = value - 0.1 * weighted.mT @ error
        score = score - 0.1 * score_gradient
    return found


def measure(logits: Tensor, answers: Tensor) -> dict[str, float]:
    """Measure the loss, and those of the relation's block and of the place in it; logits (B, R D)."""
    blocks = logits.log_softmax(-1).unflatten(-1, (TASK.relations, TASK.answers))
    relation, place = answers // TASK.answers, answers % TASK.answers
    return {
        "loss": float(F.cross_entropy(logits, answers)),
        "accuracy": float((logits.argmax(-1) == answers).float().mean()),
        "relation loss": float(F.nll_loss(blocks.logsumexp(2), relation)),
        "subject loss": float(F.nll_loss(blocks.logsumexp(1), place)),
    }


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Learn ordered facts and random ones; find the plateau of the ordered."""
    steps = 8192
    ordered = learn(TASK.ordered_facts(), steps, seed)
    random = learn(TASK.facts(torch.Generator().manual_seed(seed)), steps if full else steps // 2, seed)
    level = math.log(TASK.answers)
    plateau = [place for place, loss in enumerate(ordered["loss"]) if abs(loss - level) <= 0.1]
    length = EVERY * (len(plateau) - 1)
    middle = plateau[len(plateau) // 2] if plateau else 0
    checks = [
        Check.near("loss at the start", ordered["loss"][0], math.log(TASK.outputs), margin=0.01),
        Check("steps within 0.1 of log D", length, 1000, math.inf),
        Check("plateau: loss of the relation", ordered["relation loss"][middle], 0.0, 0.1, 0.0),
        Check("plateau: accuracy", ordered["accuracy"][middle], 0.05, 0.35, 1 / TASK.answers),
        Check("plateau: loss of the subject", ordered["subject loss"][middle], level - 0.2, level + 0.1, level),
        Check("accuracy at the end", ordered["accuracy"][-1], 0.99, 1.0, 1.0),
    ]
    figure, panels = style.new_figure(columns=2)
    for axes, (title, curves) in zip(panels, {"ordered facts": ordered, "random facts": random}.items(), strict=True):
        for look, (name, values) in zip(style.series(), curves.items(), strict=False):
            axes.plot([EVERY * i for i in range(len(values))], values, label=name, **(look | {"marker": ""}))
        axes.axhline(level, **style.THEORY)
        axes.set(xlabel="steps", ylabel="nats, or share", title=title)
    panels[0].legend(fontsize=8, title="log D dashed", title_fontsize=8)
    return Outcome("Learning the relation before the facts", checks, figure, {"ordered": ordered, "random": random})
