"""Self-attention of image tokens whose values are corrected by what similar tokens hold.

The orderless DeltaFormer of `ait.memory.delta_attention`, with heads, as a layer of a vision transformer: each head
reads ``U = (I + beta B)^-1 V`` in place of V, with B the row-softmax of key similarities without the token itself.
"""

from typing import Any, Final

import torch
from timm.layers import Attention
from torch import Tensor, nn

# beta is at most this, so that the series below has converged to float32 after its fixed number of terms.
LARGEST_ERASE: Final = 0.5
_TERMS: Final = 20


def sum_of_powers(matrix: Tensor, values: Tensor, terms: int = _TERMS) -> Tensor:
    """Compute ``sum_k M^k V`` over at least so many terms from k = 0, by squaring M as long as that saves work.

    ``sum_{k < a 2^s} M^k = (sum_{j < a} (M^(2^s))^j) (1 + M^(2^(s-1))) ... (1 + M)``: matrix products alone, which
    every exporter and compiler knows.

    Args:
        matrix: M, shape (..., N, N).
        values: V, shape (..., N, d).
        terms: At least 1.

    Returns:
        Shape (..., N, d).
    """
    length, width = values.shape[-2], values.shape[-1]
    squarings, least = 0, (terms - 1) * width
    for more in range(1, 6):
        # Multiply-adds over N^2: each squaring costs N, each product with values d.
        cost = more * (length + width) + ((terms - 1) >> more) * width
        if cost < least:
            squarings, least = more, cost
    result = values
    for _ in range(squarings):
        result = result + matrix @ result
        matrix = matrix @ matrix
    start = result
    for _ in range((terms - 1) >> squarings):
        result = start + matrix @ result
    return result


class _SumOfPowers(torch.autograd.Function):
    """`sum_of_powers` as the solution U of ``(I - M) U = V``, whose gradients are those of that equation.

    The gradient of V is one more such solution, with M transposed, and that of M a product with U: no term of the
    series is kept, and the backward pass costs as much as the forward one rather than twice that.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, values: Tensor) -> Tensor:
        solution = sum_of_powers(matrix, values)
        ctx.save_for_backward(matrix, solution)
        return solution

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        matrix, solution = ctx.saved_tensors
        of_values = sum_of_powers(matrix.mT, gradient)
        return of_values @ solution.mT, of_values


class DeltaSelfAttention(Attention):
    """timm's self-attention, with corrected values.

    Each head learns its beta, ``0.5 sigmoid(erase)``; beta of zero is softmax attention. The inverse is applied as the
    series ``sum_k (-beta B)^k V``, of which 20 terms leave an error below 1e-6.

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
        if self.training and not torch.jit.is_scripting():
            return self._solve(overlap, values)
        return sum_of_powers(overlap, values)

    @torch.jit.unused
    def _solve(self, overlap: Tensor, values: Tensor) -> Tensor:
        solution: Tensor = _SumOfPowers.apply(overlap, values.to(overlap.dtype))
        return solution

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
