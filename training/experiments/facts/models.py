"""Models of factual recall: one layer of attention and a network, many of them trained at once.

Trainings of such small models take the time of their calls, not of their arithmetic. So models of one width are
stacked, with tasks of different sizes beside each other: what a smaller task lacks is never asked, nor answered.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.experiments.facts.task import FactTask

_BATCH = 256


class FactModels(nn.Module):
    """One layer each: attention of H heads from the end, and a network of hidden width m beside a skip.

    Embeddings and unembeddings are random and frozen; around attention there is no skip.

    Args:
        tasks: The task of each of K models, all of one length.
        dim: Width d.
        heads: H.
        head_dim: Width of a head.
        hidden: m; 0 for attention alone.
        seed: Seed of weights, facts and sequences.
    """

    embedding: Tensor
    unembedding: Tensor
    facts: Tensor
    sizes: Tensor
    closed: Tensor

    def __init__(
        self, tasks: Sequence[FactTask], dim: int, heads: int, head_dim: int, hidden: int, seed: int = 0
    ) -> None:
        super().__init__()
        count, generator = len(tasks), torch.Generator().manual_seed(seed)
        sizes = torch.tensor([[t.subjects, t.relations, t.answers, t.noise] for t in tasks])
        self.length = tasks[0].length
        self.subjects, self.relations, self.answers, self.noise = sizes.amax(0).tolist()

        def normal(*shape: int, scale: float) -> Tensor:
            return torch.randn(count, *shape, generator=generator) * scale

        vocabulary, outputs = self.subjects + self.relations + self.noise + 1, self.relations * self.answers
        self.register_buffer("sizes", sizes)
        self.register_buffer("embedding", normal(vocabulary, dim, scale=dim**-0.5))
        self.register_buffer("unembedding", normal(outputs, dim, scale=dim**-0.5))
        place = self._below(sizes[:, 2], (count, self.subjects, self.relations), generator)
        self.register_buffer("facts", place + self.answers * torch.arange(self.relations))  # (K, S, R)
        # Answers that a smaller task does not have, (K, 1, R D).
        block = torch.arange(self.relations)[:, None] >= sizes[:, 1, None, None]
        beyond = torch.arange(self.answers) >= sizes[:, 2, None, None]
        self.register_buffer("closed", (block | beyond).flatten(1).unsqueeze(1))
        self.query, self.key, self.value = (
            nn.Parameter(normal(heads, dim, head_dim, scale=head_dim**-0.5)) for _ in range(3)
        )
        self.out = nn.Parameter(normal(heads * head_dim, dim, scale=dim**-0.5))
        self.network = nn.ParameterList()
        if hidden:
            self.network.append(normal(dim, hidden, scale=(3 * dim) ** -0.5))
            self.network.append(torch.zeros(count, 1, hidden))
            self.network.append(normal(hidden, dim, scale=(3 * hidden) ** -0.5))
        self._generator = generator

    @property
    def parameter_count(self) -> int:
        """Trained numbers of one model."""
        return sum(parameter.numel() for parameter in self.parameters()) // len(self.sizes)

    def forward(self, counts: Tensor) -> Tensor:
        """Map counts (K, B, V) to logits (K, B, R D)."""
        # Every token has one score and one value a head, wherever it stands.
        embedding = self.embedding.unsqueeze(1)  # (K, 1, V, d)
        asked = embedding[:, :, -1:] @ self.query  # (K, H, 1, d_h)
        scores = (embedding @ self.key @ asked.mT).squeeze(-1) / asked.shape[-1] ** 0.5  # (K, H, V)
        # The largest may be of a token that is not there: what is less by more than 80 counts as 80, above zero.
        weights = (scores - scores.amax(-1, keepdim=True).detach()).clamp_min(-80.0).exp()
        values = (weights.unsqueeze(-1) * (embedding @ self.value)).transpose(1, 2)  # (K, V, H, d_h)
        read = (counts @ values.flatten(2)).unflatten(-1, values.shape[2:])  # (K, B, H, d_h)
        x = (read / (counts @ weights.mT).unsqueeze(-1)).flatten(2) @ self.out
        if len(self.network):
            first, bias, second = self.network
            x = x + (x @ first + bias).relu() @ second
        return (x @ self.unembedding.mT).masked_fill(self.closed, -torch.inf)

    def _below(self, sizes: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw integers below a size for each model."""
        drawn = torch.rand(shape, generator=generator) * sizes.view(-1, *[1] * (len(shape) - 1))
        return drawn.long()

    def sample(self, batch: int) -> tuple[Tensor, Tensor]:
        """Draw sequences: counts of the tokens, shape (K, batch, V), and answers, shape (K, batch)."""
        subject, relation = (self._below(self.sizes[:, i], (len(self.sizes), batch), self._generator) for i in (0, 1))
        return self._counts(subject, relation), self._answers(subject, relation)

    def _answers(self, subject: Tensor, relation: Tensor) -> Tensor:
        return self.facts.flatten(1).gather(1, subject * self.relations + relation)

    def _counts(self, subject: Tensor, relation: Tensor) -> Tensor:
        noise = self._below(self.sizes[:, 3], (*subject.shape, self.length - 3), self._generator)
        known = self.subjects + self.relations
        tokens = torch.cat([subject[..., None], self.subjects + relation[..., None], known + noise], dim=-1)
        counts = torch.zeros(*subject.shape, known + self.noise + 1)
        counts.scatter_add_(-1, tokens, torch.ones(tokens.shape))
        counts[..., -1] = 1
        return counts

    @torch.no_grad()
    def recalled(self, times: int = 4) -> Tensor:
        """Measure the share of its facts that each model answers, each asked some times among new noise; (K,)."""
        grid = torch.cartesian_prod(torch.arange(self.subjects), torch.arange(self.relations))
        subject, relation = grid.T.unsqueeze(1).expand(2, len(self.sizes), -1)
        there = (subject < self.sizes[:, :1]) & (relation < self.sizes[:, 1:2])
        right = torch.zeros(subject.shape)
        for _ in range(times):
            right += self(self._counts(subject, relation)).argmax(-1) == self._answers(subject, relation)
        return (right / times * there).sum(1) / there.sum(1)


def train_models(models: FactModels, steps: int, rate: float = 2e-2) -> Tensor:
    """Train by Adam with a rate that falls to zero, until every model recalls 99.5 % of its facts.

    Returns:
        Share of its facts that each model recalls at the end, shape (K,).
    """
    optimiser = torch.optim.Adam(models.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.05)
    for step in range(1, steps + 1):
        counts, answers = models.sample(_BATCH)
        # The sum over models of the mean over sequences: each learns as it would alone.
        loss = F.cross_entropy(models(counts).flatten(0, 1), answers.flatten()) * len(answers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 250 == 0 and bool((models.recalled() >= 0.995).all()):
            break
    return models.recalled()
