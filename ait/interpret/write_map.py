"""Where the gates of a memory's write attention read (arXiv 2309.12862, section 3.2)."""

import torch
from torch import Tensor

from ait.associative_model import AssociativeModel
from ait.interpret.memory_report import trace_queries


@torch.no_grad()
def write_maps(model: AssociativeModel, images: Tensor) -> Tensor:
    """Compute the share of each prior's write gates that each patch of each image has, among the patches alone.

    The images are the batch whose tokens compete. The model is read as it is in evaluation; nothing is written.

    Args:
        model: A model of whose blocks some carry a memory.
        images: Normalised images, shape (B, C, H, W).

    Returns:
        Shares, mean over heads, shape (L, M, B, N) for L such blocks, M priors and N patches; a prior's sum to one.

    Raises:
        TypeError: If the model has no associative memory.
    """
    queries = trace_queries(model, images).queries
    found = []
    for block, tokens in zip(model.associative_blocks(), queries, strict=True):
        workspace = block.workspace
        priors, attention = workspace.memory.priors, workspace.write_attn
        gates = attention.gates(priors, tokens.flatten(0, 1).to(attention.k.weight.dtype))
        share = torch.zeros(len(priors), tokens.shape[0] * tokens.shape[1], device=tokens.device)
        for weights, winners in zip(gates.weights, gates.winners, strict=True):  # a head, (M, k) each
            share.scatter_add_(1, winners, weights / len(gates.weights))
        found.append(share.unflatten(1, tokens.shape[:2]))
    return torch.stack(found)
