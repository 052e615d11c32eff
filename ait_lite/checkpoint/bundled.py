"""The checkpoints that come with the library, each a folder in ``ait/pretrained``."""

from importlib.util import find_spec
from pathlib import Path

from ait_lite.checkpoint.constants import CONFIG


def bundled_models() -> dict[str, Path]:
    """Map the name (architecture.tag) of every bundled checkpoint to its folder, sorted by name."""
    found = find_spec("ait")  # where the package lies, without importing it: that would load torch
    places = (found.submodule_search_locations if found else None) or ()
    folders = (path.parent for place in places for path in Path(place).glob(f"pretrained/*/{CONFIG}"))
    return {folder.name: folder for folder in sorted(folders, key=lambda folder: folder.name)}


def resolve(reference: str | Path) -> Path:
    """Find the folder that a bundled model's name or a path means; whether a checkpoint is there is not checked."""
    return bundled_models().get(str(reference), Path(reference).expanduser())
