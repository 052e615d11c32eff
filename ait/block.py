"""One block of an Associative Transformer: attention, MLP, and a memory that reconstructs what the MLP says.

Source: Associative Transformer, arXiv 2309.12862. A block is

    x <- x + SelfAttention(LayerNorm(x))
    h  = LayerNorm(MLP(LayerNorm(x)))
    x <- x + h + retrieve(h, priors)

where, in training, the tokens of the batch first compete to write the priors. `PlainBlock` retrieves nothing.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from timm.layers import Attention, DropPath, LayerNorm, Mlp
from timm.models import checkpoint
from torch import Tensor, nn

from ait.memory.delta_layer import DeltaSelfAttention
from ait.self_attention import SelfAttention
from ait.workspace import GlobalWorkspace, MemoryConfig

# By name, as models and checkpoints give it.
ATTENTIONS: Final[dict[str, type[Attention]]] = {"softmax": SelfAttention, "delta": DeltaSelfAttention}


class BlockOutput(NamedTuple):
    """What a block returns in training.

    Attributes:
        tokens: Shape (B, N, E).
        priors: The memory after the pass, shape (M, D).
        balance_loss: Scalar.
        usage: Share of recall that each prior gets, shape (M,).
    """

    tokens: Tensor
    priors: Tensor
    balance_loss: Tensor
    usage: Tensor


class BlockTrace(NamedTuple):
    """What passes through a block that only reads its memory.

    Attributes:
        tokens: What the block gives, shape (B, N, E).
        queries: What each token asks the memory for, h, shape (B, N, E).
    """

    tokens: Tensor
    queries: Tensor


class PlainBlock(nn.Module):
    """Self-attention and MLP, whose output is normalised: an associative block without its memory.

    Args:
        dim: Token width E.
        num_heads: Heads of self-attention.
        mlp_ratio: Hidden width of the MLP over E.
        qkv_bias: Bias in the query, key and value projections.
        proj_drop: Dropout after projections.
        attn_drop: Dropout of attention weights.
        drop_path: Stochastic depth rate.
        norm_layer: Normalisation of tokens.
        act_layer: Activation of the MLP.
        attention: Self-attention, ``softmax``, or ``delta``: values corrected by what similar tokens hold.

    Raises:
        ValueError: If the attention is unknown.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool = True,
        proj_drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        norm_layer: Callable[..., nn.Module] = LayerNorm,
        act_layer: type[nn.Module] = nn.GELU,
        attention: str = "softmax",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"Unknown attention {attention!r}; choose one of {', '.join(ATTENTIONS)}.")
        dd: dict[str, Any] = {"device": device, "dtype": dtype}
        self.grad_checkpointing = False
        self.norm1 = norm_layer(dim, **dd)
        self.attn = ATTENTIONS[attention](
            dim, num_heads=num_heads, qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=proj_drop, **dd
        )
        self.drop_path1 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = norm_layer(dim, **dd)
        self.mlp = Mlp(
            in_features=dim, hidden_features=int(dim * mlp_ratio), act_layer=act_layer, drop=proj_drop, **dd
        )
        self.post_norm = norm_layer(dim, **dd)
        self.drop_path2 = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens after self-attention, and h, what is added to them and put to a memory; both (B, N, E)."""
        x = x + self.drop_path1(self.attn(self.norm1(x)))
        return x, self.post_norm(self.mlp(self.norm2(x)))

    def _add(self, x: Tensor) -> Tensor:
        x, added = self.encode(x)
        return x + self.drop_path2(added)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to tokens (B, N, E)."""
        if torch.jit.is_scripting():
            return self._add(x)
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(self._add, x)
        return self._add(x)


class AssociativeBlock(PlainBlock):
    """Self-attention, MLP, and a workspace that reconstructs the MLP's output from the priors.

    Args:
        dim: Token width E.
        num_heads: Heads of self-attention.
        mlp_ratio: Hidden width of the MLP over E.
        memory: How the memory is written and read.
        device: Where weights are made.
        dtype: Of the weights; priors are float32.
        **kwargs: The other arguments of `PlainBlock`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        memory: MemoryConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dim, num_heads, mlp_ratio, device=device, dtype=dtype, **kwargs)
        self.workspace = GlobalWorkspace(dim, memory, device=device, dtype=dtype)

    @torch.jit.unused
    def beside(self) -> nn.Module:
        """Return the layer to whose output what is retrieved is added."""
        return self.post_norm

    @torch.jit.unused
    def trace(self, x: Tensor) -> BlockTrace:
        """Run the block on tokens (B, N, E) without writing, whatever the memory would do, and tell its queries."""
        x, queries = self.encode(x)
        retrieved, _ = self.workspace.read(queries, self.workspace.memory.priors)
        return BlockTrace(x + self.drop_path2(queries + retrieved), queries)

    def _run(self, x: Tensor, priors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the block as a function of tokens and priors: nothing is stored, so that it can be run twice.

        A bare tuple in the order of `BlockOutput`: recomputation for gradient checkpointing passes on no other.
        """
        x, queries = self.encode(x)
        retrieved, priors, balance, usage = self.workspace(queries, priors)
        return x + self.drop_path2(queries + retrieved), priors, balance, usage

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to tokens (B, N, E). In training the memory is written, once."""
        if torch.jit.is_scripting():
            return self._run(x, self.workspace.memory.priors)[0]
        return self._remember(x).tokens

    @torch.jit.unused
    def forward_training(self, x: Tensor) -> BlockOutput:
        """As `forward`, and returns the balance loss and statistics of the write too."""
        # Neither calls the other: wrappers that gather a block's weights for both would do it twice.
        return self._remember(x)

    @torch.jit.unused
    def _remember(self, x: Tensor, **options: Any) -> BlockOutput:
        writes = self.workspace.writes()
        # A recomputation for gradient checkpointing must start from the memory before this write: from a copy.
        priors = self.workspace.memory() if writes else self.workspace.memory.priors
        if self.grad_checkpointing and torch.is_grad_enabled():
            output = BlockOutput(*checkpoint(self._run, x, priors, **options))
        else:
            output = BlockOutput(*self._run(x, priors, **options))
        if writes:
            self.workspace.memory(output.priors)
        return output
