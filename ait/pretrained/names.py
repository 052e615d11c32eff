"""Names of models that are near one that does not exist."""

import difflib
from collections.abc import Iterable

import timm

from ait_lite.checkpoint import bundled_models


def did_you_mean(wanted: str) -> str:
    """Suggest models whose names are near a wrong one, as the end of a message.

    Args:
        wanted: A name that no model has.

    Returns:
        `` (did you mean 'resnet18'?)``, or nothing where no name is near.
    """
    name, _, tag = wanted.partition(".")
    found = _nearest(name, timm.list_models())
    if tag:
        tagged = [*bundled_models(), *(full for model in found[:1] for full in timm.list_pretrained(f"{model}.*"))]
        found = _nearest(wanted, tagged) or found
    return f" (did you mean {' or '.join(map(repr, found))}?)" if found else ""


def _nearest(wanted: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(wanted, list(names), n=2, cutoff=0.75)
