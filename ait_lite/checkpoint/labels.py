"""Class names of a checkpoint."""

from collections.abc import Mapping
from typing import Any

from ait_lite.checkpoint.errors import CheckpointError


def named_labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """List the class names that a configuration holds, by class index; empty if it names none.

    Args:
        config: What ``config.json`` holds, or a timm model's ``pretrained_cfg``. The names stand under
            ``label_names``, there or in ``pretrained_cfg``, as a list or as an object from index to name.
    """
    names = _entry(config)
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names, key=int)]
    return tuple(str(name) for name in names or ())


def label_names(config: Mapping[str, Any], num_classes: int) -> list[str]:
    """Name every class; a class without a name is called by its index.

    Args:
        config: As for `named_labels`. An object from index to name may have gaps.
        num_classes: Number of classes of the model.

    Raises:
        CheckpointError: The names are not a list of `num_classes`, nor an object.
    """
    names = _entry(config) or {}
    if isinstance(names, Mapping):  # JSON makes the indices strings
        return [str(names.get(str(index), names.get(index, index))) for index in range(num_classes)]
    if not isinstance(names, list | tuple) or len(names) != num_classes:
        raise CheckpointError(
            f"label_names must be a list of {num_classes} names, one for each class of the model. "
            "Correct it, or remove it to have the classes numbered."
        )
    return [str(name) for name in names]


def _entry(config: Mapping[str, Any]) -> Any:
    preprocessing = config.get("pretrained_cfg") or {}
    return config.get("label_names") or (
        preprocessing.get("label_names") if isinstance(preprocessing, Mapping) else None
    )
