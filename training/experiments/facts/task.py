"""Factual recall: a sequence names a subject and a relation among noise, and the answer is a fact (arXiv 2412.06538).

Neither the model nor the task knows positions, so that a sequence is what its tokens' counts are: one subject, one
relation, T - 3 noise tokens and the end. Attention from the end over such a sequence depends on the counts alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


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
