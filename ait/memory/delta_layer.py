"""Self-attention of image tokens whose values are corrected by what similar tokens hold.

The orderless DeltaFormer of `ait.memory.delta_attention`, with heads, as a layer of a vision transformer: each head
reads ``U = (I + beta B)^-1 V`` in place of V, with B the row-softmax of key similarities without the token itself.
"""

from typing import Any, Final

import torch
from timm.layers import Attention
from torch import Tensor, nn

# beta is at most this, so that 20 terms of the series below have converged to float32.
LARGEST_ERASE: Final = 0.5


def sum_of_powers(matrix: Tensor, values: Tensor) -> Tensor:
    """Compute ``sum_{k < 20} M^k V`` as ``(1 + M^4 + ... + M^16) (1 + M^2) (1 + M) V``, in eight products.

    Matrix products alone, which every exporter and compiler knows, and as many for any number of tokens. Term by term
    they are 19; the two squarings are worth it where there are not many more tokens than values.

    Args:
        matrix: M, shape (..., N, N).
        values: V, shape (..., N, d).

    Returns:
        Shape (..., N, d).
    """
    squared = matrix @ matrix
    fourth = squared @ squared
    first = values + matrix @ values
    first = first + squared @ first
    result = first
    for _ in range(4):
        result = first + fourth @ result
    return result


class DeltaSelfAttention(Attention):
    """timm's self-attention, with corrected values.

    Each head learns its beta, ``0.5 sigmoid(erase)``; beta of zero is softmax attention. The inverse is applied as the
    series ``sum_k (-beta B)^k V``, of which 20 terms leave an error below 2e-6.

    Args:
        dim: Token width E.
        num_heads: Heads H.
        **options: Of `timm.layers.Attention`; attention masks are not supported.
    """

    largest_erase: Final[float]

    def __init__(self, dim: int, num_heads: int = 8, **options: Any) -> None:
        super().__init__(dim, num_heads=num_heads, **options)
        self.largest_erase = LARGEST_ERASE
        placed = {name: options[name] for name in ("device", "dtype") if name in options}
        self.erase = nn.Parameter(torch.empty(num_heads, 1, 1, **placed))
        nn.init.zeros_(self.erase)

    def corrected(self, keys: Tensor, values: Tensor) -> Tensor:
        """Correct values: keys and values (B, H, N, d) to U (B, H, N, d)."""
        own = torch.eye(keys.shape[-2], dtype=torch.bool, device=keys.device)
        scores = (keys * self.scale) @ keys.transpose(-2, -1)
        # A finite number, so that a lone token gives no NaN: its only weight is cleared below.
        overlap = scores.masked_fill(own, -1e4).softmax(dim=-1).masked_fill(own, 0.0)
        overlap = overlap * (-self.largest_erase * self.erase.sigmoid()).to(overlap.dtype)
        return sum_of_powers(overlap, values)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Attend: tokens (B, N, E) to tokens (B, N, E).

        Args:
            x: Tokens.
            attn_mask: None; of timm's signature.
            is_causal: False; of timm's signature.
        """
        assert attn_mask is None, "DeltaSelfAttention knows no masks"
        assert not is_causal, "DeltaSelfAttention knows no order"
        batch, length, _ = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        weights = self.attn_drop(((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1))
        read = weights @ self.corrected(k, v)
        read = read.transpose(1, 2).reshape(batch, length, self.attn_dim)
        return self.proj_drop(self.proj(self.norm(read)))
