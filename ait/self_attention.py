"""Self-attention of the tokens of an image, by the faster of torch's two ways."""

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.layers.attention import resolve_self_attn_mask
from timm.models import register_notrace_module
from torch import Tensor

# A token's weights take no more memory than its hidden activations in an MLP of four times the width.
_TOKENS_PER_CHANNEL = 4


def products_are_faster(device: torch.device, dtype: torch.dtype, tokens: int, head_dim: int) -> bool:
    """Say whether separate products are faster than torch's fused ``scaled_dot_product_attention``.

    On a CPU the fused kernel, which spares memory, is two to five times as slow in half precision, above all in its
    backward pass, and where there are few keys. Else the two are alike.

    Args:
        device: Where it runs.
        dtype: Of queries, keys and values.
        tokens: Keys N. In half precision up to four times ``head_dim``: the weights take little memory then.
        head_dim: Width of a head.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    return device.type == "cpu" and tokens <= (_TOKENS_PER_CHANNEL if half else 1) * head_dim


@register_notrace_module
class SelfAttention(Attention):
    """timm's self-attention, which takes separate products where they are faster than the fused kernel."""

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Attend: tokens (B, N, E) to tokens (B, N, E).

        Args:
            x: Tokens.
            attn_mask: Which token (row) reads which (column), bool, or what is added to scores; None: all read all.
            is_causal: Tokens read those before them alone.
        """
        batch, length, _ = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # (B, H, N, d) each
        q, k = self.q_norm(q), self.k_norm(k)
        if self.fused_attn and not self._takes_products(q):
            dropped = self.attn_drop.p if self.training else 0.0
            read = F.scaled_dot_product_attention(q, k, v, attn_mask, dropped, is_causal)
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1)  # (B, H, N, N)
            added = resolve_self_attn_mask(length, scores, attn_mask, is_causal)
            if added is None:
                weights = scores.softmax(dim=-1)
            else:
                empty = (added == -torch.inf).all(dim=-1, keepdim=True)  # who may read nothing gets zero, and no NaN
                weights = (scores + added.masked_fill(empty, 0.0)).softmax(dim=-1).masked_fill(empty, 0.0)
            read = self.attn_drop(weights) @ v
        read = read.transpose(1, 2).reshape(batch, length, self.attn_dim)
        return self.proj_drop(self.proj(self.norm(read)))

    def _takes_products(self, q: Tensor) -> bool:
        if torch.jit.is_scripting():
            return False
        return products_are_faster(q.device, q.dtype, q.shape[-2], self.head_dim)
