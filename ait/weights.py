"""Fit weights of another shape to a model: other grids, patch sizes and heads, or blocks without their memories."""

from timm.layers import resample_abs_pos_embed, resample_patch_embed, to_2tuple
from torch import Tensor, nn

from ait.associative_transformer import AssociativeTransformer, resample_flat_head
from ait.memory.head_weights import fit_associative_head
from ait_lite.wording import counted


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: AssociativeTransformer) -> dict[str, Tensor]:
    """Fit a checkpoint to a model of another input size, patch size or head, or without its blocks' memories.

    Raises:
        ValueError: The checkpoint lacks what the model's pooling needs, or has another class token or head.
    """
    _check_fit(state_dict, model)
    prefix = model.num_prefix_tokens
    new_grid = model.patch_embed.grid_size
    old_grid = _grid_of(state_dict, model)
    fitted = {}
    for name, value in state_dict.items():
        if ".workspace." in name and not model.associative_blocks():
            continue
        if name == "patch_embed.proj.weight" and value.shape[-2:] != model.patch_embed.proj.weight.shape[-2:]:
            value = resample_patch_embed(value, list(model.patch_embed.proj.weight.shape[-2:]))
        elif name == "pos_embed" and old_grid != new_grid:
            value = resample_abs_pos_embed(value, list(new_grid), list(old_grid), num_prefix_tokens=prefix)
        elif (
            name == "head.weight"
            and model.global_pool == "flat"
            and old_grid != new_grid
            and value.shape[1] == old_grid[0] * old_grid[1] * model.embed_dim
        ):
            value = resample_flat_head(value, new_grid, old_grid)
        fitted[name] = value
    return fit_associative_head(fitted, model)


def _grid_of(state_dict: dict[str, Tensor], model: AssociativeTransformer) -> tuple[int, int]:
    """Find the grid of patches that weights were made for: the first that has as many.

    That of the size that their folder tells, the model's own, that of the architecture's size; else a square.
    """
    rows, columns = model.patch_embed.grid_size
    if "pos_embed" not in state_dict or "patch_embed.proj.weight" not in state_dict:
        return rows, columns
    tokens = state_dict["pos_embed"].shape[1] - model.num_prefix_tokens
    height, width = state_dict["patch_embed.proj.weight"].shape[-2:]
    told = (getattr(model, "pretrained_model_args", None) or {}).get("img_size", 0)
    usual = (getattr(model, "pretrained_cfg", None) or {}).get("input_size", (0, 0))[-2:]
    grids = [(size[0] // height, size[1] // width) for size in map(to_2tuple, (told, usual))]
    for grid in (grids[0], (rows, columns), grids[1]):
        if grid[0] * grid[1] == tokens:
            return grid
    side = round(tokens**0.5)
    return side, side


def _check_fit(state_dict: dict[str, Tensor], model: AssociativeTransformer) -> None:
    """Refuse weights of a model with another pooling by name, in place of a list of shapes."""
    if "pos_embed" not in state_dict:  # not a whole model
        return
    if ("cls_token" in state_dict) != bool(model.num_prefix_tokens):
        have, lacks = ("a", "none") if "cls_token" in state_dict else ("no", "one")
        raise ValueError(
            f"These weights have {have} class token, and global_pool={model.global_pool!r} needs {lacks}; create the "
            "model with the pooling that they were trained with."
        )
    if model.global_pool == "map" and not any(name.startswith("attn_pool.") for name in state_dict):
        raise ValueError(
            "These weights have no attention pooling (global_pool='map'); create the model with the pooling that they "
            "were trained with, then call reset_classifier(num_classes, 'map') to train one."
        )
    head = state_dict.get("head.weight")
    if head is None or not isinstance(model.head, nn.Linear) or head.shape[0] != model.num_classes:
        return  # timm leaves out a head of other classes
    flat, tokens = head.shape[1] != model.embed_dim, head.shape[1] // model.embed_dim
    if flat != (model.global_pool == "flat") and tokens * model.embed_dim == head.shape[1]:
        theirs = "'flat'" if flat else "'avg' or another that gives one vector an image"
        raise ValueError(
            f"The head of these weights reads {counted(tokens, 'token')} (global_pool={theirs}), and "
            f"the model has global_pool={model.global_pool!r}. Create it with that pooling; for a new head, load it "
            "so and call reset_classifier(num_classes, global_pool)."
        )
