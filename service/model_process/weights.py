"""Look at how weights are stored, before a model answers with them."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import nn

from service.repository.folders import ModelError

_WHOLE_NUMBERS = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})


def check_stored_types(file: Path, model: nn.Module) -> None:
    """Check that what a model computes with is not stored as whole numbers, as quantised weights are.

    Loading copies them without their scales. Such a model answers, and always wrongly.

    Args:
        file: Its safetensors file.
        model: What the file is loaded into.

    Raises:
        ModelError: A parameter is stored as whole numbers.
    """
    expected = model.state_dict()
    with safe_open(file, framework="pt") as stored:
        for name in stored.keys():  # noqa: SIM118  it is no dictionary
            kind = stored.get_slice(name).get_dtype()
            if kind in _WHOLE_NUMBERS and name in expected and expected[name].is_floating_point():
                raise ModelError(
                    f"{file} stores {name} as whole numbers ({kind}), as quantised weights are; these need their "
                    "scales, which a model folder does not have. Export the model again with its weights as floats."
                )
