"""Memories that a block can read: each says what its tokens get without it, with equal priors, with shuffled ones."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
import torch.nn.functional as F
from timm.layers import Attention
from torch import Tensor, nn

INTERVENTIONS: Final = ("off", "equal", "shuffled")


class Memory(nn.Module):
    """Priors with an address (key) and a content (value), on which one can intervene.

    Attributes:
        intervention: None: the memory as it is; ``off``: what depends on the class; ``equal``: all priors are their
            mean; ``shuffled``: every prior gives what another holds.
    """

    intervention: str | None = None

    def intervened(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the intervention to keys (M, D) and values (M, E)."""
        if self.intervention == "equal":
            return keys.mean(0, keepdim=True).expand_as(keys), values.mean(0, keepdim=True).expand_as(values)
        if self.intervention == "shuffled":
            return keys, values.roll(1, 0)
        return keys, values


@contextmanager
def intervention(model: nn.Module, name: str) -> Iterator[None]:
    """Intervene on all memories of a model, which is left as it was."""
    memories = [module for module in model.modules() if isinstance(module, Memory)]
    for memory in memories:
        memory.intervention = name
    try:
        yield
    finally:
        for memory in memories:
            memory.intervention = None


class PriorKeys(Memory):
    """Priors that self-attention reads beside the tokens, as further keys and values (arXiv 1907.01470).

    Off: attention reads the tokens alone.

    Args:
        dim: Width E.
        num_priors: Priors M.
    """

    def __init__(self, dim: int, num_priors: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(num_priors, dim))
        self.values = nn.Parameter(torch.randn(num_priors, dim))

    def forward(self, attn: Attention, x: Tensor) -> Tensor:
        """Attend from tokens (B, N, E) to themselves and to the priors; (B, N, E)."""
        if self.intervention == "off":
            return attn(x)
        keys, values = self.intervened(self.keys, self.values)
        q, k, v = attn.qkv(x).unflatten(-1, (3, attn.num_heads, attn.head_dim)).permute(2, 0, 3, 1, 4)
        heads = (attn.num_heads, attn.head_dim)
        more_keys = keys.unflatten(-1, heads).transpose(0, 1).expand(len(x), -1, -1, -1)  # (B, H, M, E / H)
        more_values = values.unflatten(-1, heads).transpose(0, 1).expand(len(x), -1, -1, -1)
        read = F.scaled_dot_product_attention(q, torch.cat([k, more_keys], 2), torch.cat([v, more_values], 2))
        return attn.proj(read.transpose(1, 2).flatten(2))


class DatasetMemory(Memory):
    """Prototypes of the whole data set, recalled sparsely, with learned values.

    Keys are unit vectors. In training each key moves by EWMA towards the mean of the queries that recall it most. The
    first batch gives the first keys, and the map that whitens queries. With ``q`` a whitened unit query,

        read = sum over the k nearest keys of softmax(beta q . key) value

    Off: nothing is read.

    Args:
        key_dim: Width D of a query.
        dim: Width E of what is read.
        num_priors: Priors M.
        recalled: Priors k that a query recalls.
        rate: Step of the EWMA.
        beta: Start of the learned inverse temperature.
    """

    def __init__(
        self, key_dim: int, dim: int, num_priors: int, recalled: int = 8, rate: float = 0.05, beta: float = 8.0
    ) -> None:
        super().__init__()
        self.recalled = recalled
        self.rate = rate
        self.values = nn.Parameter(0.02 * torch.randn(num_priors, dim))
        self.log_beta = nn.Parameter(torch.tensor(math.log(beta)))
        self.register_buffer("keys", torch.zeros(num_priors, key_dim))
        self.register_buffer("mean", torch.zeros(key_dim))
        self.register_buffer("whitening", torch.eye(key_dim))
        self.keys: Tensor
        self.mean: Tensor
        self.whitening: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Read for queries (B, N, D); (B, N, E)."""
        queries = x.flatten(0, 1).float()
        if self.training and not self.keys.any():
            self._start(queries.detach())
        queries = F.normalize((queries - self.mean) @ self.whitening, dim=-1)  # (B * N, D)
        if self.intervention == "off":
            return x.new_zeros(*x.shape[:-1], self.values.shape[1])
        keys, values = self.intervened(self.keys.clone(), self.values)  # a write must not change what is read
        overlap, index = (queries @ keys.mT).topk(self.recalled, dim=-1)  # (B * N, k)
        weights = (self.log_beta.exp() * overlap).softmax(-1)
        if self.training:
            self._write(queries.detach(), index[:, 0])
        read = F.embedding_bag(index, values, per_sample_weights=weights, mode="sum")
        return read.unflatten(0, x.shape[:-1])

    @torch.no_grad()
    def _start(self, queries: Tensor) -> None:
        self.mean.copy_(queries.mean(0))
        centred = queries - self.mean
        values, vectors = torch.linalg.eigh(centred.mT @ centred / len(centred))
        # Directions of little variance hold noise: they are not blown up (Coates and Ng, 2012).
        scale = (values + 0.02 * values.mean()).rsqrt()
        self.whitening.copy_(vectors @ torch.diag(scale) @ vectors.mT)
        chosen = torch.randint(len(queries), (len(self.keys),))
        self.keys.copy_(F.normalize(centred[chosen] @ self.whitening, dim=-1))

    @torch.no_grad()
    def _write(self, queries: Tensor, winner: Tensor) -> None:
        counts = torch.bincount(winner, minlength=len(self.keys)).to(queries.dtype).unsqueeze(-1)
        sums = torch.zeros_like(self.keys).index_add(0, winner, queries)
        moved = torch.lerp(self.keys, sums / counts.clamp_min(1), self.rate)
        self.keys.copy_(F.normalize(torch.where(counts > 0, moved, self.keys), dim=-1))


class ClassPriors(Memory):
    """Priors that hold classes: an image recalls them by its mean token, and all its tokens get what they hold.

    The recall is an auxiliary read-out, which the labels supervise (deep supervision, arXiv 1409.5185). Off: tokens
    get nothing.

    Args:
        dim: Width E.
        num_classes: Classes C, one prior each.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.keys = nn.Parameter(F.normalize(torch.randn(num_classes, dim), dim=-1))
        self.values = nn.Parameter(0.02 * torch.randn(num_classes, dim))
        self.log_beta = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, E) to what each gets (B, 1, E), and to logits of the classes (B, C)."""
        keys, values = self.intervened(self.keys, self.values)
        query = F.normalize(self.norm(x).mean(1), dim=-1)
        logits = self.log_beta.exp() * query @ F.normalize(keys, dim=-1).mT
        read = (logits.softmax(-1) @ values).unsqueeze(1)
        return torch.zeros_like(read) if self.intervention == "off" else read, logits
