"""The checkpoints that are ready to use: those in ``ait/pretrained``, and the one that the extra `imagenet` brings."""

from importlib.util import find_spec
from pathlib import Path

from ait_lite.checkpoint import imagenet
from ait_lite.checkpoint.constants import CONFIG


def bundled_models() -> dict[str, Path]:
    """Map the name (architecture.tag) of every checkpoint that is ready to use to its folder, sorted by name."""
    found = find_spec("ait")  # where the package lies, without importing it: that would load torch
    places = (found.submodule_search_locations if found else None) or ()
    folders = [path.parent for place in places for path in Path(place).glob(f"pretrained/*/{CONFIG}")]
    if (imagenet.imagenet_folder() / CONFIG).is_file():
        folders.append(imagenet.imagenet_folder())
    return {folder.name: folder for folder in sorted(folders, key=lambda folder: folder.name)}


def default_model() -> str | None:
    """Name the bundled model that is used where none is named: the one that knows photographs, if it is ready."""
    ready = bundled_models()
    return imagenet.NAME if imagenet.NAME in ready else next(iter(ready), None)


def bundled_folder(name: str) -> Path | None:
    """Find the folder of a bundled model, prepared where it was not yet; None if there is none of that name.

    Raises:
        CheckpointError: It is the model of the extra `imagenet`, which is not installed or cannot be prepared.
    """
    return imagenet.prepare_imagenet() if name == imagenet.NAME else bundled_models().get(name)


def resolve(reference: str | Path) -> Path:
    """Find the folder that a bundled model's name or a path means; whether a checkpoint is there is not checked.

    Raises:
        CheckpointError: As `bundled_folder`.
    """
    return bundled_folder(str(reference)) or Path(reference).expanduser()
