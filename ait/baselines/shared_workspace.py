"""Shared global workspace: tokens compete to write a few slots, and all read them (arXiv 2103.01197)."""

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn

from ait.baselines.set_attention import SetAttention


class SlotGates(nn.Module):
    """Input and forget gates of every unit of every slot, as in a relational memory core (arXiv 1806.01822, eq. 7).

    ``[I; F] = U_s tanh(M_s) + mean_t(relu(w * x_t)) W + b``; each slot s has its own ``U_s``. The forget gate starts
    open: one is added before its sigmoid.

    Args:
        dim: Width E of slots and tokens.
        num_slots: Slots S.
    """

    def __init__(self, dim: int, num_slots: int) -> None:
        super().__init__()
        self.slot_weight = nn.Parameter(torch.empty(num_slots, dim, 2 * dim))
        trunc_normal_(self.slot_weight, std=dim**-0.5)
        self.token_scale = nn.Parameter(torch.ones(dim))
        self.token_proj = nn.Linear(dim, 2 * dim)

    def forward(self, tokens: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gates, each (B, S, E), from tokens (B, N, E) and slots (B, S, E) before the write."""
        from_slots = torch.einsum("bse,sef->bsf", slots.tanh(), self.slot_weight)
        from_tokens = self.token_proj((self.token_scale * tokens).relu().mean(1, keepdim=True))
        gate_in, forget = (from_slots + from_tokens).chunk(2, dim=-1)
        return gate_in.sigmoid(), (forget + 1).sigmoid()


class SharedWorkspace(nn.Module):
    """Write slots by top-k attention, gate them, and broadcast them to the tokens (section 2.1 of the paper).

    With ``X' = X W``: ``M^ = LN(M + Attn_k(M, X'))``, ``M^ <- LN(M^ + relu(M^ W_1))``,
    ``M <- I * tanh(M^) + F * M``; then ``Attn(X, M)`` is what the tokens get.

    Args:
        dim: Width E of slots and tokens.
        num_heads: Heads.
        num_slots: Slots S.
        top_k: Tokens that each slot and head reads; None reads all (soft competition).
    """

    def __init__(self, dim: int, num_heads: int, num_slots: int = 8, top_k: int | None = 20) -> None:
        super().__init__()
        self.project = nn.Linear(dim, dim)
        self.write = SetAttention(dim, num_heads, top_k=top_k)
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.gates = SlotGates(dim, num_slots)
        self.broadcast = SetAttention(dim, num_heads)
        self.register_buffer("start", torch.eye(num_slots, dim), persistent=False)
        self.start: Tensor

    def initial_slots(self, batch: int) -> Tensor:
        """Return the slots before the first layer, rows of the identity, shape (B, S, E)."""
        return self.start.to(self.mlp.weight.dtype).expand(batch, -1, -1)

    def forward(self, tokens: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Write, then read.

        Args:
            tokens: Shape (B, N, E).
            slots: Shape (B, S, E).

        Returns:
            What each token reads from the new slots, shape (B, N, E); the new slots, shape (B, S, E).
        """
        candidates = self.project(tokens)
        written = self.norm1(slots + self.write(slots, candidates))
        written = self.norm2(written + self.mlp(written).relu())
        gate_in, forget = self.gates(candidates, slots)
        slots = gate_in * written.tanh() + forget * slots
        return self.broadcast(tokens, slots), slots
