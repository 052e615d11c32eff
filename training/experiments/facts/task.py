"""Factual recall: a sequence names a subject and a relation among noise, and the answer is a fact (arXiv 2412.06538).

Neither the model nor the task knows positions, so that a sequence is what its tokens' counts are: one subject, one
relation, T - 3 noise tokens and the end. Attention from the end over such a sequence depends on the counts alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class FactTask:
    """Sizes of a task.

    Attributes:
        subjects: S.
        relations: R.
        answers: D answers a relation: relation r is answered from the block D r .. D (r + 1) - 1.
        noise: Number of noise tokens.
        length: Tokens T of a sequence, with the end.
    """

    subjects: int
    relations: int
    answers: int = 8
    noise: int = 32
    length: int = 32

    @property
    def vocabulary(self) -> int:
        """Number of tokens: subjects, relations, noise, the end."""
        return self.subjects + self.relations + self.noise + 1

    @property
    def outputs(self) -> int:
        """Number of possible answers of all relations."""
        return self.relations * self.answers

    def facts(self, generator: torch.Generator) -> Tensor:
        """Draw the answer to each subject and relation, uniform in the relation's block; shape (S, R)."""
        drawn = torch.randint(self.answers, (self.subjects, self.relations), generator=generator)
        return drawn + self.answers * torch.arange(self.relations)

    def ordered_facts(self) -> Tensor:
        """Answer by the subject's place, ``floor(s D / S) + D r``, as the paper's figure of learning does; (S, R)."""
        place = torch.arange(self.subjects) * self.answers // self.subjects
        return place[:, None] + self.answers * torch.arange(self.relations)

    def sample(self, batch: int, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sequences.

        Returns:
            Counts of the tokens, shape (batch, V), and answers, shape (batch,).
        """
        subject = torch.randint(self.subjects, (batch,), generator=generator)
        relation = torch.randint(self.relations, (batch,), generator=generator)
        noise = torch.randint(self.noise, (batch, self.length - 3), generator=generator)
        end = torch.full((batch, 1), self.vocabulary - 1)
        known = self.subjects + self.relations
        tokens = torch.cat([subject[:, None], self.subjects + relation[:, None], known + noise, end], dim=1)
        counts = torch.zeros(batch, self.vocabulary).scatter_add_(1, tokens, torch.ones(tokens.shape))
        return counts, facts[subject, relation]

    def every_fact(self, facts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Ask for every fact once, each among noise of its own; shapes as of `sample`, with S R sequences."""
        subject, relation = (
            t.flatten()
            for t in torch.meshgrid(torch.arange(self.subjects), torch.arange(self.relations), indexing="ij")
        )
        noise = torch.randint(self.noise, (len(subject), self.length - 3), generator=generator)
        counts = F.one_hot(subject, self.vocabulary).float() + F.one_hot(self.subjects + relation, self.vocabulary)
        counts[:, -1] += 1
        counts.scatter_add_(1, self.subjects + self.relations + noise, torch.ones(noise.shape))
        return counts, facts[subject, relation]


class FactModel(nn.Module):
    """One layer: attention of H heads from the end, and a network of hidden width m beside a skip.

    Embeddings and unembeddings are random and frozen; around attention there is no skip.

    Args:
        task: Sizes.
        dim: Width d.
        heads: H.
        head_dim: Width of a head.
        hidden: m; 0 for attention alone.
    """

    embedding: Tensor
    unembedding: Tensor

    def __init__(self, task: FactTask, dim: int, heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("embedding", torch.randn(task.vocabulary, dim) / dim**0.5)
        self.register_buffer("unembedding", torch.randn(task.outputs, dim) / dim**0.5)
        self.query, self.key, self.value = (
            nn.Parameter(torch.randn(heads, dim, head_dim) / head_dim**0.5) for _ in range(3)
        )
        self.out = nn.Parameter(torch.randn(heads * head_dim, dim) / dim**0.5)
        self.mlp: nn.Module | None = None
        if hidden:
            self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim, bias=False))

    @property
    def parameter_count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, counts: Tensor) -> Tensor:
        """Map counts (B, V) to logits (B, R D)."""
        # Every token has one score and one value a head, wherever it stands.
        asked = self.embedding[-1] @ self.query  # (H, d_h)
        scores = (self.embedding @ self.key @ asked.unsqueeze(-1)).squeeze(-1) / asked.shape[-1] ** 0.5  # (H, V)
        weights = counts * (scores - scores.amax(-1, keepdim=True).detach()).exp().unsqueeze(1)  # (H, B, V)
        weights = weights / weights.sum(-1, keepdim=True)
        read = weights @ (self.embedding @ self.value)  # (H, B, d_h)
        x = read.transpose(0, 1).flatten(1) @ self.out
        if self.mlp is not None:
            x = x + self.mlp(x)
        return x @ self.unembedding.mT


def train(
    model: nn.Module, task: FactTask, facts: Tensor, steps: int, rate: float, seed: int, batch: int = 256
) -> float:
    """Train by Adam with a rate that falls to zero, until 99 % of the facts are recalled.

    Returns:
        Share of the facts recalled at the end, each asked four times.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.05)
    for step in range(1, steps + 1):
        counts, answers = task.sample(batch, facts, generator)
        loss = F.cross_entropy(model(counts), answers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 250 == 0 and recalled(model, task, facts, seed) >= 0.995:
            break
    return recalled(model, task, facts, seed)


@torch.no_grad()
def recalled(model: nn.Module, task: FactTask, facts: Tensor, seed: int) -> float:
    """Measure the share of facts that a model answers, each asked four times."""
    generator = torch.Generator().manual_seed(seed + 1)
    shares = []
    for _ in range(4):
        counts, answers = task.every_fact(facts, generator)
        shares.append(float((model(counts).argmax(-1) == answers).float().mean()))
    return sum(shares) / len(shares)


def train_model(
    task: FactTask, dim: int, heads: int, head_dim: int, hidden: int, steps: int, seed: int, rate: float = 2e-2
) -> tuple[float, int]:
    """Train a fresh `FactModel` on fresh facts.

    Returns:
        Share of the facts recalled, and the number of trained parameters.
    """
    facts = task.facts(torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FactModel(task, dim, heads, head_dim, hidden)
    return train(model, task, facts, steps, rate, seed), model.parameter_count
