"""Image files to teach from, by their labels; listing them needs no model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ait_lite.images.files import holds_images, list_images, visible_folders
from training.errors import DataError

# Told how many images of how many are done.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelledFile:
    """An image file and what it shows.

    Attributes:
        path: The file.
        label: Its label.
    """

    path: Path
    label: str


def labelled_files(places: Sequence[Path], label: str | None = None) -> list[LabelledFile]:
    """List image files with their labels.

    Args:
        places: With a label: image files, and folders of them at any depth. Without: folders that hold one folder
            of images per class.
        label: What all of them show; None takes the names of the class folders.

    Raises:
        DataError: A place is missing or holds no images, or there is no label for it.
    """
    from training.data.sources.folder import scan_folder  # imports torch, which labelled images can do without

    found: list[LabelledFile] = []
    for place in places:
        if not place.exists():
            raise DataError(f"{place}: there is no such file or folder.")
        if label is not None:
            found += [LabelledFile(path, label) for path in image_files([place])]
        elif place.is_file():
            raise DataError(f"{place} is a file: say what it shows with --label.")
        elif holds_images(place) and not visible_folders(place):
            raise DataError(f"{place} holds images and no class folders: say what they show with --label.")
        else:
            samples = scan_folder(place, wrapped=True)
            labels = samples.labels.tolist()
            found += [LabelledFile(samples.file(i), samples.classes[code]) for i, code in enumerate(labels)]
    return found


def image_files(places: Sequence[Path]) -> list[Path]:
    """List image files, those in folders at any depth.

    Raises:
        DataError: A place is missing or holds no images.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            listed = list_images(place).images
            if not listed:
                raise DataError(f"{place} holds no images.")
            found += [place / name for name in listed]
        elif place.exists():
            found.append(place)
        else:
            raise DataError(f"{place}: there is no such file or folder.")
    return found
