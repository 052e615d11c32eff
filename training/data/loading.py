"""Batches of images by position, from a decoded array or decoded when they are needed.

What a batch holds is a pure function of the positions asked for, the epoch and the seed: neither the number
of worker processes nor the batch that iteration starts from changes it.
"""

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ait_lite.images.errors import ImageError
from training.data.preprocessing import Preprocessing
from training.data.samples import LabelledImages
from training.errors import DataError
from training.seeds import image_seed

# Ctrl-C, and SIGTERM to a whole group, are the training process's to answer, after the step in progress.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Takes a (C, H, W) uint8 image, which it must leave as it is, and a seed; returns one of the same shape and type.
ImageTransform = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class UndecodedImages:
    """Images that are decoded each time they are needed.

    Attributes:
        samples: The images, all known to be readable (see `training.data.decode.check`).
        preprocessing: To which size, and how, to bring them.
    """

    samples: LabelledImages
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.samples)

    def decode(self, index: int) -> Tensor:
        """One image: (C, H, W) uint8.

        Raises:
            DataError: The image cannot be decoded, by name.
        """
        try:
            return self.preprocessing.decode(self.samples.image(index))
        except (OSError, ImageError) as error:
            path = f"{self.samples.origin}/{self.samples.names[index]}"
            raise DataError(f"{path} could be decoded before and cannot now: {error}") from error


class BatchLoader:
    """Yields batches of bytes for lists of positions.

    Args:
        images: (N, C, H, W) uint8 on any device, or images to decode when they are needed.
        workers: Processes that decode and transform, at most one a core; 0 does it in the calling process.
            None are started where there is nothing to do but copy.
        pin_memory: Put batches from workers into page-locked memory, from which an accelerator copies faster.
    """

    def __init__(
        self,
        images: Tensor | UndecodedImages,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.images = images
        self.workers = workers
        self.pin_memory = pin_memory

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> Tensor:
        """Return the images at some positions, as they are: (B, C, H, W) uint8."""
        if isinstance(self.images, Tensor):
            return self.images[indices.to(self.images.device)]
        return torch.stack([self.images.decode(index) for index in indices.tolist()])

    def batches(
        self,
        indices: Sequence[Tensor],
        epoch: int = 0,
        seed: int = 0,
        transform: ImageTransform | None = None,
        start: int = 0,
        rows: Callable[[int], Tensor] | None = None,
    ) -> Generator[Tensor, None, None]:
        """Batches in order; close the generator (`contextlib.closing`) to end its processes early.

        Args:
            indices: The positions, (B,) int64, of every batch of the epoch, of all processes of a
                data-parallel run.
            epoch: Which epoch, for the seeds of `transform`.
            seed: The recipe's, for the same.
            transform: Changes one image, given a seed that is a function of the recipe's seed, the epoch, the
                image's position and how often the epoch visited it before. It must not draw from elsewhere,
                and where Python starts processes by spawning, it must be picklable.
            start: The first batch to yield; those before it are not decoded.
            rows: From a batch's size to the rows of it, (n,) int64, that this process needs in a data-parallel
                run; None yields them all.

        Yields:
            (B or n, C, H, W) uint8; on the device of `images` where that is a tensor, else on the CPU.

        Raises:
            DataError: An image became unreadable; or the images lie on an accelerator, where no
                image-by-image transform runs.
        """
        wanted = rows or torch.arange
        if transform is None and isinstance(self.images, Tensor):
            for chosen in indices[start:]:
                yield self.take(chosen[wanted(len(chosen))])
            return
        if isinstance(self.images, Tensor) and self.images.device.type != "cpu":
            raise DataError("transforms of single images run on the CPU: use data.caching=ram or none, not device")
        repeats = repeat_positions(indices)
        visits = []
        for chosen, repeat in zip(indices[start:], repeats[start:], strict=True):
            mine = wanted(len(chosen))
            visits.append((chosen[mine].tolist(), repeat[mine].tolist()))
        batches = _Batches(self.images, transform, epoch, seed)
        if self.workers == 0:
            for visit in visits:
                yield batches.make(visit)
            return
        yield from self._from_workers(batches, visits)

    def _from_workers(self, batches: "_Batches", visits: list["_Visit"]) -> Generator[Tensor, None, None]:
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=visits,  # whole batches, in place of positions
            num_workers=min(self.workers, len(visits), os.cpu_count() or 1),
            worker_init_fn=_ignore_signals,
            pin_memory=self.pin_memory,
            # Its own, for it draws a seed for each worker, and the global one belongs to the model.
            generator=torch.Generator(),
        )
        # Workers start with these blocked, as they take a while until they ignore them.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            iterator = iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        try:
            for result in iterator:
                if isinstance(result, DataError):
                    raise result
                yield result
        finally:
            # Not left to the garbage collector: an exception's traceback may hold the iterator for long.
            if isinstance(iterator, _MultiProcessingDataLoaderIter):
                iterator._shutdown_workers()


@contextmanager
def dead_workers_named() -> Iterator[None]:
    """Say what became of a process that loads images, where it was killed within the context.

    torch raises from a signal handler, anywhere in the main thread, so that the loader alone cannot catch it.

    Raises:
        DataError: A worker of a `BatchLoader` was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise DataError(
            f"a process that loads images was killed ({reason}). Most often the memory did not suffice: set "
            "data.workers lower; the last checkpoint is intact, and --resume auto continues from it"
        ) from error


def repeat_positions(indices: Sequence[Tensor]) -> list[Tensor]:
    """For every visit of an epoch, how many visits to the same image came before it; shaped as `indices`."""
    if not indices:
        return []
    flat = torch.cat(list(indices)).numpy()
    order = np.argsort(flat, kind="stable")
    ranked = flat[order]
    # Within a run of equal positions, the distance from its beginning.
    begins = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.r_[begins, len(ranked)])
    repeats = np.empty_like(flat)
    repeats[order] = np.arange(len(flat)) - np.repeat(begins, lengths)
    return list(torch.split(torch.from_numpy(repeats), [len(chosen) for chosen in indices]))


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """Hold decoded images on an accelerator.

    Raises:
        DataError: They do not fit beside a model.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.nbytes > free // 2:
            raise DataError(
                f"{len(images)} decoded images take {images.nbytes / 2**30:.1f} GiB, more than half of the "
                f"{free / 2**30:.1f} GiB free on {device}: use data.caching=ram"
            )
    return images.to(device)


_Visit = tuple[list[int], list[int]]  # positions and repeat positions of a batch


class _Batches(Dataset[Tensor | DataError]):
    """A batch for each visit."""

    def __init__(
        self, images: Tensor | UndecodedImages, transform: ImageTransform | None, epoch: int, seed: int
    ) -> None:
        self.images = images
        self.transform = transform
        self.epoch = epoch
        self.seed = seed

    def __getitem__(self, visit: _Visit) -> Tensor | DataError:
        # Returned, for an exception that passes between processes loses its type's message.
        try:
            return self.make(visit)
        except DataError as error:
            return error

    def make(self, visit: _Visit) -> Tensor:
        """(B, C, H, W) uint8."""
        images = [self._image(index, repeat) for index, repeat in zip(*visit, strict=True)]
        return torch.stack(images) if images else self._none()

    def _image(self, index: int, repeat: int) -> Tensor:
        image = self.images[index] if isinstance(self.images, Tensor) else self.images.decode(index)
        if self.transform is None:
            return image
        return self.transform(image, image_seed(self.seed, self.epoch, index, repeat))

    def _none(self) -> Tensor:
        shape = self.images.shape[1:] if isinstance(self.images, Tensor) else self.images.preprocessing.input_size
        return torch.empty(0, *shape, dtype=torch.uint8)


def _ignore_signals(worker: int) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
