"""A patch embedding that starts as whitening filters of the training images' patches."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.errors import RecipeError


@torch.no_grad()
def whiten_patch_embedding(
    model: nn.Module, images: Tensor, scale: float = 0.7, ridge: float = 1e-2, seed: int = 0
) -> None:
    """Set a patch embedding to whitening filters of the images' patches.

    The first filters are the principal components of the patches, each scaled to bring its output to the
    variance ``scale**2``; then come their negatives, so that a following rectifier sees both signs; the
    remaining rows are random combinations of the components. The bias centres every output.

    Args:
        model: Its ``patch_embed.proj`` is a convolution whose stride is its kernel.
        images: (N, C, H, W) float, normalised; some thousands suffice.
        scale: Standard deviation of the outputs.
        ridge: Added to the patches' variances, so that components that are mostly noise stay small.
        seed: Of the random combinations.

    Raises:
        RecipeError: The model has no such patch embedding.
    """
    projection = getattr(getattr(model, "patch_embed", None), "proj", None)
    if not isinstance(projection, nn.Conv2d) or projection.kernel_size != projection.stride:
        raise RecipeError("patch_whitening needs a model with a patch embedding whose stride is its patch size")
    patches = F.unfold(images.float(), projection.kernel_size, stride=projection.stride)  # (N, K, L)
    patches = patches.transpose(1, 2).flatten(0, 1).double()  # (N*L, K)
    mean = patches.mean(dim=0)
    variances, components = torch.linalg.eigh(torch.cov(patches.T))
    variances, components = variances.flip(0).clamp_min(0), components.flip(1)  # largest first
    filters = (components / (variances + ridge).sqrt()).T  # (K, K), one row per filter
    outputs, inputs = projection.out_channels, filters.shape[0]
    rows = torch.cat([filters, -filters])[:outputs]
    if outputs > len(rows):
        generator = torch.Generator().manual_seed(seed)
        mixing = torch.randn(outputs - len(rows), inputs, generator=generator, dtype=torch.float64)
        rows = torch.cat([rows, mixing.to(filters) @ filters / inputs**0.5])
    rows = rows * scale
    projection.weight.copy_(rows.view_as(projection.weight))
    if projection.bias is not None:
        projection.bias.copy_(-(rows @ mean))
