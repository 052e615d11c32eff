"""BRIMs: recurrent modules that attend to what is below and above them (arXiv 2006.16981)."""

from typing import NamedTuple

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn

from ait.baselines.classifier import PatchTokens, SetClassifier
from ait.baselines.set_attention import SetAttention


class ModuleState(NamedTuple):
    """State of the modules of a layer.

    Attributes:
        hidden: Shape (B, n, d).
        cell: Shape (B, n, d).
    """

    hidden: Tensor
    cell: Tensor


class ModularLSTM(nn.Module):
    """An LSTM a module, all at once; the modules share no weights.

    Args:
        num_modules: Modules n.
        input_dim: Width of a module's input.
        dim: Width d of a module.
    """

    def __init__(self, num_modules: int, input_dim: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_modules, input_dim + dim, 4 * dim))
        trunc_normal_(self.weight, std=(input_dim + dim) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(num_modules, 4 * dim))

    def forward(self, x: Tensor, state: ModuleState) -> ModuleState:
        """Take a step: inputs (B, n, F) and a state to the next state."""
        joined = torch.cat([x, state.hidden], dim=-1)
        gates = torch.einsum("bnf,nfg->bng", joined, self.weight) + self.bias
        gate_in, forget, candidate, out = gates.chunk(4, dim=-1)
        cell = forget.sigmoid() * state.cell + gate_in.sigmoid() * candidate.tanh()
        return ModuleState(out.sigmoid() * cell.tanh(), cell)


class SourceAttention(nn.Module):
    """Let each module choose between nothing, what is below, and what is above (section 2.2).

    Each module has its own queries; each source has its own keys and values. The null source is zero in both.

    Args:
        num_modules: Modules n.
        dim: Width d of a module.
        source_dims: Widths of the sources.
        num_heads: Heads.
        head_dim: Width of a query.
        value_dim: Width of what a head gives.
    """

    def __init__(
        self, num_modules: int, dim: int, source_dims: list[int], num_heads: int, head_dim: int, value_dim: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.empty(num_modules, dim, num_heads * head_dim))
        trunc_normal_(self.query, std=dim**-0.5)
        self.keys = nn.ModuleList([nn.Linear(width, num_heads * head_dim, bias=False) for width in source_dims])
        self.values = nn.ModuleList([nn.Linear(width, num_heads * value_dim, bias=False) for width in source_dims])

    def forward(self, hidden: Tensor, sources: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Read the sources.

        Args:
            hidden: States of the modules, shape (B, n, d).
            sources: Shape (B, width) each.

        Returns:
            What each module read, shape (B, n, H * value_dim), and how much it attends to nothing, mean over heads,
            shape (B, n).
        """
        heads = (self.num_heads, -1)
        query = torch.einsum("bnd,ndf->bnf", hidden, self.query).unflatten(-1, heads)  # (B, n, H, k)
        key = torch.stack([make(x) for make, x in zip(self.keys, sources, strict=True)], 1).unflatten(-1, heads)
        value = torch.stack([make(x) for make, x in zip(self.values, sources, strict=True)], 1).unflatten(-1, heads)
        scores = torch.einsum("bnhk,bshk->bnhs", query, key) * key.shape[-1] ** -0.5
        weights = torch.cat([torch.zeros_like(scores[..., :1]), scores], dim=-1).softmax(-1)  # (B, n, H, 1 + S)
        read = torch.einsum("bnhs,bshv->bnhv", weights[..., 1:], value)
        return read.flatten(2), weights[..., 0].mean(-1)


class BRIMsLayer(nn.Module):
    """One layer of modules: they read their sources, the keenest take an LSTM step and then read each other.

    Args:
        num_modules: Modules n.
        num_active: Modules that change in a step, those that attend least to nothing.
        dim: Width d of a module.
        source_dims: Widths of what is below and, except in the top layer, above.
        head_dim: Width of a query.
    """

    def __init__(
        self, num_modules: int, num_active: int, dim: int, source_dims: list[int], head_dim: int = 32
    ) -> None:
        super().__init__()
        self.num_active = num_active
        self.sources = SourceAttention(num_modules, dim, source_dims, 2, head_dim, 2 * dim)
        self.cell = ModularLSTM(num_modules, 4 * dim, dim)
        self.communicate = SetAttention(dim, 4, head_dim=head_dim)

    def forward(self, state: ModuleState, sources: list[Tensor]) -> ModuleState:
        """Take a step from a state and the sources (B, width) each."""
        read, idle = self.sources(state.hidden, sources)
        # Stable, because before the first step all states are zero and all modules alike.
        chosen = idle.argsort(dim=1, stable=True)[:, : self.num_active]
        active = torch.zeros_like(idle, dtype=torch.bool).scatter(1, chosen, value=True).unsqueeze(-1)
        new = self.cell(read, state)
        # Active modules read the idle ones, but teach them nothing.
        visible = torch.where(active, new.hidden, new.hidden.detach())
        hidden = new.hidden + self.communicate(visible, visible)
        return ModuleState(torch.where(active, hidden, state.hidden), torch.where(active, new.cell, state.cell))


class BRIMs(SetClassifier):
    """Bidirectional recurrent independent mechanisms that read an image patch by patch (arXiv 2006.16981).

    At each step layer l sees layer l - 1 (the patch, for the lowest) as it is now and layer l + 1 as it was before.
    The classifier reads the modules of the top layer after the last patch.

    Args:
        img_size: Input size in pixels.
        patch_size: Patch size in pixels.
        in_chans: Input channels.
        num_classes: Classes; 0 removes the head.
        global_pool: How the modules become one vector, ``flat`` in the paper; see `SetClassifier`.
        embed_dim: Width of an embedded patch.
        hidden_dim: Width of a layer, shared by its modules.
        depth: Layers.
        num_modules: Modules of a layer.
        num_active: Modules that change in a step.
        drop_rate: Dropout before the head.

    Raises:
        ValueError: If the modules cannot share the width, or more are active than there are.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "flat",
        embed_dim: int = 300,
        hidden_dim: int = 300,
        depth: int = 2,
        num_modules: int = 6,
        num_active: int = 4,
        drop_rate: float = 0.0,
    ) -> None:
        if hidden_dim % num_modules or not 1 <= num_active <= num_modules:
            raise ValueError(
                f"Modules share the width, and some are active: {hidden_dim=}, {num_modules=}, {num_active=}."
            )
        width = hidden_dim // num_modules
        super().__init__(width, num_modules, num_classes, in_chans, global_pool, drop_rate)
        self.patch_embed = PatchTokens(img_size, patch_size, in_chans, embed_dim)
        self.num_modules = num_modules
        self.layers = nn.ModuleList()
        for number in range(depth):
            below = embed_dim if number == 0 else hidden_dim
            above = [hidden_dim] if number + 1 < depth else []
            self.layers.append(BRIMsLayer(num_modules, num_active, width, [below, *above]))

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into the states of the top layer's modules, (B, n, d)."""
        patches = self.patch_embed(x)
        empty = patches.new_zeros(len(patches), self.num_modules, self.num_features)
        states = [ModuleState(empty, empty) for _ in self.layers]
        for patch in patches.unbind(1):
            below = patch
            for number, layer in enumerate(self.layers):
                above = [state.hidden.flatten(1) for state in states[number + 1 : number + 2]]
                states[number] = layer(states[number], [below, *above])
                below = states[number].hidden.flatten(1)
        return states[-1].hidden
