"""Images decoded once into one array of bytes.

On a machine with few cores, decoding JPEGs anew in every epoch costs more than a small model's step. Images
are brought to the model's input size once and kept on disk as a memory-mapped array, under a name derived
from the files' paths, sizes, times of change and inodes, so that a changed folder is decoded again. The time at
which the file system itself saw a change (ctime) is among them, so a file that was replaced by one of the same
size and date is seen. Not seen is a change on a file system that keeps no such time, such as FAT, if size and
date stay the same.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ait_lite.checkpoint import atomic_file, write_text
from ait_lite.images.decode import refusal
from ait_lite.images.errors import ImageError
from ait_lite.images.files import decode_file
from ait_lite.images.limits import ImageLimits
from ait_lite.user_cache import check_writable, writable_cache
from ait_lite.wording import counted
from training.data.duplicates import SIGNATURE_BYTES, signature, signatures_of
from training.data.preprocessing import Preprocessing
from training.data.samples import LabelledImages
from training.errors import DataError

Broken = Literal["error", "skip"]

_CACHE_FORMAT = 2  # counted up when the same files give other bytes
_CHUNK = 256
_NAMED_PROBLEMS = 10
_NAMED_REFUSALS = 3

T = TypeVar("T")


class _Read(NamedTuple):
    """One image that was read.

    Attributes:
        image: Decoded.
        signature: See `training.data.duplicates`.
        refused: Why a service would refuse it, or None.
    """

    image: Image.Image
    signature: np.ndarray
    refused: str | None


@dataclass
class _Report:
    """What reading all images found, kept beside the arrays.

    Attributes:
        broken: Why images cannot be decoded, by name.
        refused: Why a service would refuse others, by name.
    """

    broken: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def default_cache() -> Path:
    """Return the user's cache folder for decoded images, or one among temporary files where that cannot be written.

    Raises:
        DataError: Neither can be written to.
    """
    try:
        return writable_cache("images")
    except OSError as error:
        raise DataError(
            f"there is no folder to keep decoded images in: {error}; name one with data.cache=FOLDER in a "
            "recipe, or in XDG_CACHE_HOME"
        ) from error


def _cache_folder(cache: Path | None) -> Path:
    if cache is None:
        return default_cache()
    try:
        check_writable(cache)
        return cache
    except OSError as error:
        raise DataError(
            f"decoded images cannot be kept in {cache} ({error.strerror}): name another folder with data.cache=FOLDER"
        ) from error


@contextmanager
def _room_named(cache: Path) -> Iterator[None]:
    """Say where a disk is full."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"decoded images cannot be written to {cache} ({error.strerror}): make room, or name another folder in "
            "XDG_CACHE_HOME; in a recipe with data.cache=FOLDER, or keep none with data.caching=none"
        ) from error


def decode(
    samples: LabelledImages,
    preprocessing: Preprocessing,
    *,
    broken: Broken = "error",
    cache: Path | None = None,
    console: Console | None = None,
) -> tuple[LabelledImages, Tensor]:
    """Bring all images to the model's input size.

    Args:
        samples: What to decode.
        preprocessing: To which size, and how.
        broken: Whether images that cannot be decoded are an error, or left out, named and counted.
        cache: Folder of decoded arrays; None takes the user's cache folder.
        console: Where progress, the names of skipped images and those that a service would refuse go; None shows
            nothing.

    Returns:
        The samples that were decoded, with their signatures, and (N, C, H, W) uint8 as many, backed by a
        memory-mapped file unless they were in memory and of the right size already.

    Raises:
        DataError: Images that cannot be decoded, by name; or none is left; or they cannot be kept.
    """
    _tell(samples.remarks, console)
    if samples.pixels is not None and _fits(samples.pixels, preprocessing):
        seen = replace(samples, remarks=(), signatures=_signatures_in_memory(samples.pixels))
        return seen, samples.pixels.expand(-1, preprocessing.input_size[0], -1, -1)
    cache = _cache_folder(cache)
    contents = _contents(samples)
    report_path = cache / f"{_key(samples, contents)}.json"
    report = _read_report(report_path) or _Report()
    good = _without(samples, report.broken, broken)
    place = _Place.of(cache, good, contents if good is samples else _contents(good), preprocessing)
    opened = place.open(len(good), preprocessing)
    if opened is None:
        with _room_named(cache):
            good, place, found = _decode_to(cache, good, preprocessing, broken, console)
            report.broken |= found.broken
            report.refused = found.refused
            _write_report(report_path, report)
        opened = place.open(len(good), preprocessing)
        if opened is None:
            raise DataError(f"the decoded images in {place.images} vanished or changed while being written")
    _tell_skipped(samples, report, report_path, console)
    images, signatures = opened
    return replace(good, remarks=(), signatures=torch.from_numpy(signatures)), torch.from_numpy(images)


def check(
    samples: LabelledImages, *, broken: Broken = "error", cache: Path | None = None, console: Console | None = None
) -> LabelledImages:
    """Find the samples that can be decoded by reading each once; the finding is kept beside decoded arrays.

    For images that are not decoded ahead of training, so that a broken one is not met in its middle.

    Args:
        samples: What to read.
        broken: Whether images that cannot be read are an error, or left out, named and counted.
        cache: Folder for the finding; None takes the user's cache folder.
        console: As for `decode`.

    Returns:
        The samples that were read, with their signatures.

    Raises:
        DataError: Images that cannot be read, by name; or none is left; or what is found cannot be kept.
    """
    _tell(samples.remarks, console)
    if samples.pixels is not None:
        return replace(samples, remarks=(), signatures=_signatures_in_memory(samples.pixels))
    cache = _cache_folder(cache)
    key = _key(samples, _contents(samples))
    report_path, signatures_path = cache / f"{key}.json", cache / f"{key}.checked.npy"
    report = _read_report(report_path)
    signatures = _load(signatures_path, (len(samples) - len(report.broken), SIGNATURE_BYTES)) if report else None
    if report is None or signatures is None:

        def read(index: int) -> tuple[np.ndarray, str | None]:
            _, made, refused = _read(samples, index)
            return made, refused

        report, rows = _Report(), []
        for index, result in enumerate(_each(samples, read, f"checking {samples.origin.name}", console)):
            if isinstance(result, str):
                report.broken[samples.names[index]] = result
                continue
            rows.append(result[0])
            if result[1]:
                report.refused[samples.names[index]] = result[1]
        good = _without(samples, report.broken, broken)
        signatures = np.stack(rows)
        with _room_named(cache):
            _save(signatures_path, signatures)
            _write_report(report_path, report)
    else:
        good = _without(samples, report.broken, broken)
    _tell_skipped(samples, report, report_path, console)
    return replace(good, remarks=(), signatures=torch.from_numpy(signatures))


def _read(samples: LabelledImages, index: int) -> _Read:
    if samples.pixels is not None:
        image = samples.image(index)
        return _Read(image, signature(image.tobytes(), image), None)
    data = samples.file(index).read_bytes()
    image = decode_file(data)
    error = refusal(data, image.size, ImageLimits())
    return _Read(image, signature(data, image), None if error is None else str(error))


def _signatures_in_memory(pixels: Tensor) -> Tensor | None:
    return signatures_of(pixels) if pixels.shape[1] in (1, 3) else None


def _fits(pixels: Tensor, preprocessing: Preprocessing) -> bool:
    channels, *size = preprocessing.input_size
    same = tuple(pixels.shape[2:]) == tuple(size) and pixels.shape[1] in (1, channels)
    return same and preprocessing.crop_pct == 1 and preprocessing.crop_mode == "center"


def _contents(samples: LabelledImages) -> bytes:
    """Digest what tells these samples from others: pixels, or the files' names, sizes, times and inodes."""
    digest = hashlib.sha256()
    if samples.pixels is not None:
        digest.update(repr(tuple(samples.pixels.shape)).encode())
        digest.update(samples.pixels.contiguous().numpy().data)
        return digest.digest()
    for index, name in enumerate(samples.names):
        try:
            status = samples.file(index).stat()
        except OSError:  # named with its reason when it is decoded
            told = ""
        else:
            told = f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_ino}"
        digest.update(f"{name}\0{told}\0".encode())
    return digest.digest()


def _key(samples: LabelledImages, contents: bytes, preprocessing: Preprocessing | None = None) -> str:
    geometry = preprocessing and (
        preprocessing.input_size,
        preprocessing.interpolation,
        preprocessing.crop_pct,
        preprocessing.crop_mode,
    )
    # The border crop mode fills with the mean, so the bytes depend on it there.
    fill = preprocessing.mean if preprocessing and preprocessing.crop_mode == "border" else None
    origin = os.fsencode(samples.origin.resolve())
    digest = hashlib.sha256(repr((_CACHE_FORMAT, origin, geometry, fill)).encode() + contents)
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class _Place:
    """Where the arrays of some decoded images lie.

    Attributes:
        images: (N, C, H, W) uint8.
        signatures: (N, SIGNATURE_BYTES) uint8.
    """

    images: Path
    signatures: Path

    @classmethod
    def of(cls, cache: Path, samples: LabelledImages, contents: bytes, preprocessing: Preprocessing) -> "_Place":
        key = _key(samples, contents, preprocessing)
        return cls(cache / f"{key}.npy", cache / f"{key}.signatures.npy")

    def open(self, count: int, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray] | None:
        images = _load(self.images, (count, *preprocessing.input_size))
        signatures = _load(self.signatures, (count, SIGNATURE_BYTES))
        return None if images is None or signatures is None else (images, signatures)


def _load(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        # Copy-on-write, because torch wants a writable array; the file itself never changes.
        array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _decode_to(
    cache: Path, samples: LabelledImages, preprocessing: Preprocessing, broken: Broken, console: Console | None
) -> tuple[LabelledImages, _Place, _Report]:
    """Write the arrays of the images that can be decoded: those, where they lie, and what was found."""

    def read(index: int) -> tuple[np.ndarray, np.ndarray, str | None]:
        image, made, refused = _read(samples, index)
        return preprocessing.decode(image).numpy(), made, refused

    size = preprocessing.input_size
    contents = _contents(samples)
    temporary = cache / f"{_key(samples, contents, preprocessing)}.{os.getpid()}.tmp"
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(len(samples), *size))
        signatures = np.empty((len(samples), SIGNATURE_BYTES), dtype=np.uint8)
        report = _Report()
        kept = 0
        for index, result in enumerate(_each(samples, read, f"decoding {samples.origin.name}", console)):
            if isinstance(result, str):
                report.broken[samples.names[index]] = result
                continue
            array[kept], signatures[kept], refused = result
            kept += 1
            if refused:
                report.refused[samples.names[index]] = refused
        good = _without(samples, report.broken, broken)
        array.flush()
        del array
        with temporary.open("r+b") as file:
            # Fewer rows than planned: numpy leaves room in the header for any number of them.
            header = {"descr": "|u1", "fortran_order": False, "shape": (kept, *size)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + kept * int(np.prod(size)))
            os.fsync(file.fileno())
        place = _Place.of(cache, good, contents if good is samples else _contents(good), preprocessing)
        _save(place.signatures, signatures[:kept])
        temporary.replace(place.images)
    finally:
        temporary.unlink(missing_ok=True)
    return good, place, report


def _each(
    samples: LabelledImages, work: Callable[[int], T], description: str, console: Console | None
) -> Iterator[T | str]:
    """Work on every image, in order, on a few threads; one that fails yields the reason."""

    def guarded(index: int) -> T | str:
        try:
            return work(index)
        except ImageError as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)

    starts: Iterator[int] = iter(range(0, len(samples), _CHUNK))
    if console is not None:
        starts = iter(track(list(starts), description=description, console=console, transient=True))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in starts:
            yield from pool.map(guarded, range(start, min(start + _CHUNK, len(samples))))


def _without(samples: LabelledImages, problems: dict[str, str], broken: Broken) -> LabelledImages:
    if not problems:
        return samples
    if broken == "error":
        raise DataError(
            f"{counted(len(problems), 'image')} in {samples.origin} cannot be decoded:\n{_listed(problems)}\n"
            "mend or remove them; a training leaves them out with data.broken=skip"
        )
    good = samples.select([index for index, name in enumerate(samples.names) if name not in problems])
    if not len(good):
        raise DataError(f"no image in {samples.origin} can be decoded:\n{_listed(problems)}")
    return good


def _tell(lines: tuple[str, ...], console: Console | None) -> None:
    if console is not None:
        for line in lines:
            console.print(line, soft_wrap=True, markup=False)


def _tell_skipped(samples: LabelledImages, report: _Report, path: Path, console: Console | None) -> None:
    if report.broken:
        skipped = (
            f"skipping {len(report.broken)} of {counted(len(samples), 'image')} in {samples.origin} that cannot be "
            f"decoded (delete {path} to try them again):\n{_listed(report.broken)}"
        )
        _tell((skipped,), console)
    if report.refused:
        named = list(report.refused.items())
        some = "; ".join(f"{name}: {reason}" for name, reason in named[:_NAMED_REFUSALS])
        more = "; …" if len(named) > _NAMED_REFUSALS else ""
        of_all = f"{len(named)} of {counted(len(samples), 'image')}"
        _tell((f"{of_all} are used though a service would refuse them: {some}{more}",), console)


def _listed(problems: dict[str, str]) -> str:
    lines = [f"  {name}: {reason}" for name, reason in list(problems.items())[:_NAMED_PROBLEMS]]
    more = len(problems) - _NAMED_PROBLEMS
    return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))


def _read_report(path: Path) -> _Report | None:
    try:
        return _Report(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_report(path: Path, report: _Report) -> None:
    write_text(path, json.dumps({"broken": report.broken, "refused": report.refused}, indent=1))
