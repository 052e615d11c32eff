"""Tokens merged by the priors that they recall."""

from typing import Any, Final

import torch
from torch import Tensor, nn


class RecallMerge(nn.Module):
    """Turn N tokens into M, one a prior.

    With scores ``s = norm(x) key^T`` of tokens (rows) and priors (columns), prior m gets

        sum_t w_tm x_t + value_m,   w = softmax of s over the tokens

    (PatchMerger, arXiv 2202.12015). If tokens compete, each is divided among the priors that it recalls, as in a
    Hopfield retrieval, and a prior gets the mean of what it won (slots, arXiv 2006.15055):

        w_tm = r_tm / sum_u r_um,   r = softmax of s over the priors

    Args:
        dim: Token width E.
        num_priors: Priors M.
        compete: Let tokens be divided among priors.

    Raises:
        ValueError: A size is below 1.
    """

    compete: Final[bool]

    def __init__(
        self,
        dim: int,
        num_priors: int,
        compete: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if min(dim, num_priors) < 1:
            raise ValueError(f"dim and num_priors are at least 1, got {dim=} and {num_priors=}.")
        dd: dict[str, Any] = {"device": device, "dtype": dtype}
        self.compete = compete
        self.norm = nn.LayerNorm(dim, **dd)
        self.keys = nn.Parameter(torch.empty(num_priors, dim, **dd))
        self.values = nn.Parameter(torch.empty(num_priors, dim, **dd))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw keys that score about as a standard normal number, and small values."""
        nn.init.normal_(self.keys, std=self.keys.shape[1] ** -0.5)
        nn.init.normal_(self.values, std=0.02)

    def shares(self, x: Tensor) -> Tensor:
        """Weight of each of N tokens (B, N, E) in each merged one, (B, N, M); sums to one over the tokens."""
        scores = self.norm(x) @ self.keys.mT  # (B, N, M)
        if not self.compete:
            return scores.softmax(1)
        # r over its sum, by logarithms: of a prior that no token recalls both underflow.
        return scores.log_softmax(-1).softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """Merge tokens (B, N, E) to (B, M, E)."""
        return self.shares(x).mT @ x + self.values
