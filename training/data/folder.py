"""Class folders of images, decoded once into one array of bytes.

On a machine with few cores, decoding JPEGs anew in every epoch costs more than a small model's step. Images
are brought to the model's input size once and kept on disk as a memory-mapped array, under a name derived
from the files' paths, sizes and times, so that a changed folder is decoded again.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from training.data.preprocessing import Preprocessing
from training.errors import DataError
from training.seeds import stream

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_VALIDATION_NAMES = ("val", "validation", "valid", "test")
_DEFAULT_FRACTION = 0.1
_CACHE_FORMAT = 1
_CHUNK = 256
_NAMED_PROBLEMS = 10


@dataclass(frozen=True)
class ImageFolder:
    """Images of known classes, not yet decoded.

    Attributes:
        root: The folder that holds the class folders.
        classes: Class names, sorted; their positions are the labels.
        files: Image paths relative to `root`, sorted within a class.
        labels: (N,) int64, the class of each file.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.files)

    def select(self, indices: Sequence[int]) -> "ImageFolder":
        """The images at some positions, in the order given."""
        files = tuple(self.files[index] for index in indices)
        return replace(self, files=files, labels=self.labels[torch.tensor(indices, dtype=torch.int64)])


def scan_folder(root: str | Path) -> ImageFolder:
    """List the images of a folder of class folders.

    Raises:
        DataError: No such folder, no class folders, or a class without images.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"no such data folder: {root}")
    classes = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if not classes:
        raise DataError(f"{root} holds no class folders; expected one folder of images a class")
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in EXTENSIONS)
        if not found:
            raise DataError(f"class folder {root / name} holds no images ({', '.join(sorted(EXTENSIONS))})")
        files.extend(path.relative_to(root).as_posix() for path in found)
        labels.extend([label] * len(found))
    return ImageFolder(root, classes, tuple(files), torch.tensor(labels, dtype=torch.int64))


def find_splits(root: str | Path, fraction: float | None = None, seed: int = 0) -> tuple[ImageFolder, ImageFolder]:
    """The training and the validation images below a folder.

    Args:
        root: Holds ``train/`` and optionally ``val/`` or ``test/``, or class folders directly.
        fraction: Share of each class to hold out of the training images. None: use the validation folder,
            or hold out a tenth where there is none.
        seed: Decides which images are held out.

    Raises:
        DataError: As `scan_folder`; or the two folders hold different classes.
    """
    root = Path(root)
    if not (root / "train").is_dir():
        return split_folder(scan_folder(root), fraction or _DEFAULT_FRACTION, seed)
    train = scan_folder(root / "train")
    held_out = validation_folder(root)
    if fraction is not None or held_out is None:
        return split_folder(train, fraction or _DEFAULT_FRACTION, seed)
    validation = scan_folder(held_out)
    if validation.classes != train.classes:
        different = sorted(set(validation.classes) ^ set(train.classes))
        raise DataError(f"{train.root} and {held_out} hold different classes: {', '.join(different)}")
    return train, validation


def validation_folder(root: Path) -> Path | None:
    """The folder of validation images below `root`, if there is one."""
    return next((root / name for name in _VALIDATION_NAMES if (root / name).is_dir()), None)


def split_folder(folder: ImageFolder, fraction: float, seed: int) -> tuple[ImageFolder, ImageFolder]:
    """Hold out a share of every class: (rest, held out). A pure function of the files and the seed.

    Raises:
        DataError: A class has a single image, which cannot be on both sides.
    """
    generator = stream(seed, 0, "split")
    kept: list[int] = []
    held: list[int] = []
    for label, name in enumerate(folder.classes):
        members = torch.nonzero(folder.labels == label).flatten()
        if len(members) < 2:
            raise DataError(f"class {name!r} in {folder.root} has one image: too few to hold one out")
        members = members[torch.randperm(len(members), generator=generator)]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.extend(members[:count].tolist())
        kept.extend(members[count:].tolist())
    return folder.select(sorted(kept)), folder.select(sorted(held))


def default_cache() -> Path:
    """The user's cache folder for decoded images."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ait" / "images"


def decode_folder(
    folder: ImageFolder,
    preprocessing: Preprocessing,
    cache: Path | None = None,
    console: Console | None = None,
) -> Tensor:
    """All images of a folder at the model's input size.

    Args:
        folder: What to decode.
        preprocessing: To which size, and how.
        cache: Folder of decoded arrays; None takes the user's cache folder.
        console: Where a progress bar is drawn; None draws none.

    Returns:
        (N, C, H, W) uint8, backed by a memory-mapped file.

    Raises:
        DataError: Images that cannot be decoded, by name.
    """
    path = (cache or default_cache()) / f"{_cache_key(folder, preprocessing)}.npy"
    shape = (len(folder), *preprocessing.input_size)
    images = _open_cached(path, shape)
    if images is None:
        _decode_to(path, shape, folder, preprocessing, console)
        images = _open_cached(path, shape)
        if images is None:
            raise DataError(f"the decoded images in {path} vanished or changed while being written")
    return torch.from_numpy(images)


def _cache_key(folder: ImageFolder, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256()
    geometry = (
        preprocessing.input_size,
        preprocessing.interpolation,
        preprocessing.crop_pct,
        preprocessing.crop_mode,
    )
    # The border crop mode fills with the mean, so the bytes depend on it there.
    fill = preprocessing.mean if preprocessing.crop_mode == "border" else None
    digest.update(repr((_CACHE_FORMAT, str(folder.root.resolve()), geometry, fill)).encode())
    for name in folder.files:
        status = (folder.root / name).stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _open_cached(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        # Copy-on-write, because torch wants a writable array; the file itself never changes.
        images = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _decode_to(
    path: Path,
    shape: tuple[int, ...],
    folder: ImageFolder,
    preprocessing: Preprocessing,
    console: Console | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        problems: list[str] = []
        for position, result in enumerate(_decoded(folder, preprocessing, console)):
            if isinstance(result, str):
                problems.append(result)
            else:
                array[position] = result
        if problems:
            named = "\n".join(f"  {problem}" for problem in problems[:_NAMED_PROBLEMS])
            more = len(problems) - _NAMED_PROBLEMS
            tail = f"\n  and {more} more" if more > 0 else ""
            raise DataError(f"{len(problems)} images in {folder.root} cannot be decoded:\n{named}{tail}")
        array.flush()
        del array
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _decoded(folder: ImageFolder, preprocessing: Preprocessing, console: Console | None) -> Iterator[np.ndarray | str]:
    """Decode in order on a few threads; a file that fails yields its name and the reason."""

    def decode(name: str) -> np.ndarray | str:
        try:
            with Image.open(folder.root / name) as image:
                return preprocessing.decode(image).numpy()
        except Exception as error:  # Pillow raises many kinds for broken files
            return f"{name}: {error}"

    starts: Iterator[int] = iter(range(0, len(folder), _CHUNK))
    if console is not None:
        starts = iter(track(list(starts), description=f"decoding {folder.root.name}", console=console, transient=True))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in starts:
            yield from pool.map(decode, folder.files[start : start + _CHUNK])
