"""Fit weights of one head to a model that has another."""

from typing import Any

from torch import Tensor, nn

from ait.memory.associative_head import AssociativeHead


def fit_associative_head(state_dict: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Give an associative head its own start where the weights are of a linear one, or of other classes.

    Args:
        state_dict: Weights that fit but for the head.
        model: One whose head may be associative.

    Raises:
        ValueError: The head of the weights is associative, and the model's is not.
    """
    theirs = {name for name in state_dict if name.startswith("head.")}
    if "head.log_beta" in theirs and not isinstance(model.head, AssociativeHead):
        known = (getattr(model, "pretrained_cfg", None) or {}).get("num_classes", model.num_classes)
        rows = len(state_dict["head.examples"])
        if isinstance(model.head, nn.Linear) and model.num_classes == known and rows % known == 0:
            raise ValueError("The head of these weights is associative; create the model with head='associative'.")
        return {name: value for name, value in state_dict.items() if name not in theirs}
    if not isinstance(model.head, AssociativeHead) or not theirs:
        return state_dict
    own = {f"head.{name}": value for name, value in model.head.state_dict().items()}
    if all(name in own and own[name].shape == state_dict[name].shape for name in theirs):
        return state_dict
    return {name: value for name, value in state_dict.items() if name not in theirs} | own
