"""Images decoded once into one array of bytes.

On a machine with few cores, decoding JPEGs anew in every epoch costs more than a small model's step. Images
are brought to the model's input size once and kept on disk as a memory-mapped array, under a name derived
from the files' paths, sizes and times, so that a changed folder is decoded again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from training.data.preprocessing import Preprocessing
from training.data.samples import LabelledImages
from training.errors import DataError

Broken = Literal["error", "skip"]

_CACHE_FORMAT = 1
_CHUNK = 256
_NAMED_PROBLEMS = 10


def default_cache() -> Path:
    """The user's cache folder for decoded images."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ait" / "images"


def decode(
    samples: LabelledImages,
    preprocessing: Preprocessing,
    *,
    broken: Broken = "error",
    cache: Path | None = None,
    console: Console | None = None,
) -> tuple[LabelledImages, Tensor]:
    """All images at the model's input size.

    Args:
        samples: What to decode.
        preprocessing: To which size, and how.
        broken: Whether images that cannot be decoded are an error, or left out, named and counted.
        cache: Folder of decoded arrays; None takes the user's cache folder.
        console: Where progress and the names of skipped images go; None shows neither.

    Returns:
        The samples that were decoded, and (N, C, H, W) uint8 as many, backed by a memory-mapped file unless
        they were in memory and of the right size already.

    Raises:
        DataError: Images that cannot be decoded, by name; or none is left.
    """
    if samples.pixels is not None and _fits(samples.pixels, preprocessing):
        return samples, samples.pixels.expand(-1, preprocessing.input_size[0], -1, -1)
    cache = cache or default_cache()
    report = _report_path(cache, samples)
    problems = _read_report(report) or {}
    good = _without(samples, problems, broken)
    path = cache / f"{_cache_key(good, preprocessing)}.npy"
    images = _open_cached(path, (len(good), *preprocessing.input_size))
    if images is None:
        good, path, found = _decode_to(cache, good, preprocessing, broken, console)
        if found:
            problems |= found
            _write_report(report, problems)
        images = _open_cached(path, (len(good), *preprocessing.input_size))
        if images is None:
            raise DataError(f"the decoded images in {path} vanished or changed while being written")
    _tell_skipped(samples, problems, report, console)
    return good, torch.from_numpy(images)


def check(
    samples: LabelledImages, *, broken: Broken = "error", cache: Path | None = None, console: Console | None = None
) -> LabelledImages:
    """The samples that can be decoded, found by reading each once; the finding is kept beside decoded arrays.

    For images that are not decoded ahead of training, so that a broken one is not met in its middle.

    Args:
        samples: What to read.
        broken: Whether images that cannot be read are an error, or left out, named and counted.
        cache: Folder for the finding; None takes the user's cache folder.
        console: Where progress and the names of skipped images go; None shows neither.

    Raises:
        DataError: Images that cannot be read, by name; or none is left.
    """
    if samples.pixels is not None:
        return samples
    report = _report_path(cache or default_cache(), samples)
    problems = _read_report(report)
    if problems is None:

        def read(index: int) -> None:
            with samples.open(index) as image:
                image.load()

        results = _each(samples, read, f"checking {samples.origin.name}", console)
        problems = {samples.names[index]: result for index, result in enumerate(results) if isinstance(result, str)}
        good = _without(samples, problems, broken)
        _write_report(report, problems)
    else:
        good = _without(samples, problems, broken)
    _tell_skipped(samples, problems, report, console)
    return good


def _fits(pixels: Tensor, preprocessing: Preprocessing) -> bool:
    channels, *size = preprocessing.input_size
    same = tuple(pixels.shape[2:]) == tuple(size) and pixels.shape[1] in (1, channels)
    return same and preprocessing.crop_pct == 1 and preprocessing.crop_mode == "center"


def _contents(samples: LabelledImages) -> Iterator[bytes | memoryview]:
    """What tells these samples from others: pixels, or the files' names, sizes and times."""
    if samples.pixels is not None:
        yield repr(tuple(samples.pixels.shape)).encode()
        yield samples.pixels.contiguous().numpy().data
        return
    for name in samples.names:
        try:
            status = (samples.origin / name).stat()
        except OSError:  # named with its reason when it is decoded
            yield f"{name}\0\0".encode()
        else:
            yield f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode()


def _cache_key(samples: LabelledImages, preprocessing: Preprocessing | None) -> str:
    geometry = preprocessing and (
        preprocessing.input_size,
        preprocessing.interpolation,
        preprocessing.crop_pct,
        preprocessing.crop_mode,
    )
    # The border crop mode fills with the mean, so the bytes depend on it there.
    fill = preprocessing.mean if preprocessing and preprocessing.crop_mode == "border" else None
    digest = hashlib.sha256(repr((_CACHE_FORMAT, str(samples.origin.resolve()), geometry, fill)).encode())
    for part in _contents(samples):
        digest.update(part)
    return digest.hexdigest()[:32]


def _open_cached(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        # Copy-on-write, because torch wants a writable array; the file itself never changes.
        images = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _decode_to(
    cache: Path, samples: LabelledImages, preprocessing: Preprocessing, broken: Broken, console: Console | None
) -> tuple[LabelledImages, Path, dict[str, str]]:
    """Write the array of the images that can be decoded: (those, the array's path, why the others failed)."""

    def read(index: int) -> np.ndarray:
        with samples.open(index) as image:
            return preprocessing.decode(image).numpy()

    cache.mkdir(parents=True, exist_ok=True)
    size = preprocessing.input_size
    temporary = cache / f"{_cache_key(samples, preprocessing)}.{os.getpid()}.tmp"
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(len(samples), *size))
        problems: dict[str, str] = {}
        kept = 0
        for index, result in enumerate(_each(samples, read, f"decoding {samples.origin.name}", console)):
            if isinstance(result, str):
                problems[samples.names[index]] = result
            else:
                array[kept] = result
                kept += 1
        good = _without(samples, problems, broken)
        array.flush()
        del array
        with temporary.open("r+b") as file:
            # Fewer rows than planned: numpy leaves room in the header for any number of them.
            header = {"descr": "|u1", "fortran_order": False, "shape": (kept, *size)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + kept * int(np.prod(size)))
            os.fsync(file.fileno())
        path = cache / f"{_cache_key(good, preprocessing)}.npy"
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return good, path, problems


def _each(
    samples: LabelledImages, work: Callable[[int], np.ndarray | None], description: str, console: Console | None
) -> Iterator[np.ndarray | str | None]:
    """Work on every image, in order, on a few threads; one that fails yields the reason."""

    def guarded(index: int) -> np.ndarray | str | None:
        try:
            return work(index)
        except Exception as error:  # Pillow raises many kinds for broken files
            return str(error) or type(error).__name__

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
            f"{len(problems)} images in {samples.origin} cannot be decoded:\n{_listed(problems)}\n"
            "mend or remove them, or leave them out with data.broken=skip"
        )
    good = samples.select([index for index, name in enumerate(samples.names) if name not in problems])
    if not len(good):
        raise DataError(f"no image in {samples.origin} can be decoded:\n{_listed(problems)}")
    return good


def _tell_skipped(samples: LabelledImages, problems: dict[str, str], report: Path, console: Console | None) -> None:
    if problems and console is not None:
        console.print(
            f"skipping {len(problems)} of {len(samples)} images in {samples.origin} that cannot be decoded "
            f"(delete {report} to try them again):\n{_listed(problems)}",
            soft_wrap=True,
            markup=False,
        )


def _listed(problems: dict[str, str]) -> str:
    lines = [f"  {name}: {reason}" for name, reason in list(problems.items())[:_NAMED_PROBLEMS]]
    more = len(problems) - _NAMED_PROBLEMS
    return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))


def _report_path(cache: Path, samples: LabelledImages) -> Path:
    return cache / f"{_cache_key(samples, None)}.broken.json"


def _read_report(path: Path) -> dict[str, str] | None:
    try:
        problems = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return problems if isinstance(problems, dict) else None


def _write_report(path: Path, problems: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(problems, indent=1), encoding="utf-8")
    os.replace(temporary, path)
