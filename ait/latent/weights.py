"""Fit weights of another shape to a model with a workspace: other grids, patch sizes and heads."""

from timm.models.vision_transformer import checkpoint_filter_fn as fit_vit
from torch import Tensor

from ait.latent.transformer import WorkspaceTransformer
from ait.memory.head_weights import fit_associative_head


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: WorkspaceTransformer) -> dict[str, Tensor]:
    """Fit a checkpoint to a model of another input size, patch size or head.

    Raises:
        ValueError: The head of the weights is associative, and the model's is not.
    """
    return fit_associative_head(fit_vit(state_dict, model), model)
