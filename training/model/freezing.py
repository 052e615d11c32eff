"""Keep layers of a model as they are, by name."""

import difflib
import re
from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.errors import RecipeError

_RANGE = re.compile(r"(?P<before>.*\.)(?P<first>\d+)-(?P<last>\d+)(?P<after>(\..*)?)")


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Have training leave some parameters as they are. Running statistics of batch norms still follow the images.

    Args:
        model: Changed in place.
        patterns: Names of layers, such as ``patch_embed``; ``blocks.0-5`` stands for six of them.

    Returns:
        The names of the frozen parameters.

    Raises:
        RecipeError: A pattern fits no parameter, or nothing would be left to train.
    """
    parameters = dict(model.named_parameters())
    frozen: list[str] = []
    for pattern in patterns:
        layers = _expand(pattern)
        found = [name for name in parameters if any(name == layer or name.startswith(f"{layer}.") for layer in layers)]
        if not found:
            known = {name.rpartition(".")[0] for name in parameters} | {name.partition(".")[0] for name in parameters}
            near = difflib.get_close_matches(pattern, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else f"; it has {_some(sorted(known))}"
            raise RecipeError(f"freeze: the model has no layer {pattern!r}{hint}")
        frozen += found
    if len(set(frozen)) == len(parameters) and patterns:
        raise RecipeError("freeze: nothing would be left to train; name fewer layers")
    for name in frozen:
        parameters[name].requires_grad_(False)
    return frozen


def set_training(model: nn.Module, freeze_batch_norm: bool) -> None:
    """Put a model into training mode.

    Args:
        model: Changed in place.
        freeze_batch_norm: Leave batch norms in evaluation mode: they use their running statistics and keep them. Their
            scales and shifts learn all the same.
    """
    model.train()
    if freeze_batch_norm:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _expand(pattern: str) -> list[str]:
    """Turn ``blocks.0-5`` into the names of six layers."""
    match = _RANGE.fullmatch(pattern)
    if not match:
        return [pattern]
    numbers = range(int(match["first"]), int(match["last"]) + 1)
    return [f"{match['before']}{number}{match['after']}" for number in numbers]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")
