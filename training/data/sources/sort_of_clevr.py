"""Sort-of-CLEVR: questions about coloured squares and circles (arXiv 1706.01427)."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from training.seeds import stream_seed

SIZE = 75
COLOURS = ("red", "green", "blue", "orange", "grey", "yellow")
KINDS = ("non-relational", "binary", "ternary")
ANSWERS = ("yes", "no", "rectangle", "circle", "0", "1", "2", "3", "4", "5")
QUESTION_BITS = 18
QUESTIONS_A_KIND = 10
TRAINING_IMAGES = 9_800
TEST_IMAGES = 200

_RGB = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 156, 0), (128, 128, 128), (255, 255, 0)], dtype=np.uint8)
_OBJECTS = len(COLOURS)
_RADIUS = 5  # pixels, of circles; half the side of squares
_NEAREST = 100  # least squared distance of two centres
_BAND = 12  # pixels of vertical distance to a line that count as on it
_YES, _NO, _SHAPE, _COUNT = 0, 1, 2, 4  # answers; shapes and counts are added to the last two
_FIRST_KIND, _FIRST_SUBTYPE = 12, 15  # bits


@dataclass(frozen=True)
class SortOfClevr:
    """Images with Q = 30 questions each, ten of each kind, in the order of `KINDS`.

    Attributes:
        images: (N, 3, 75, 75) uint8.
        questions: (N, Q, 18) uint8 bits: 0-5 the first colour, 6-11 the second, 12-14 the kind, 15-17 the
            subtype.
        answers: (N, Q) int64, positions in `ANSWERS`.
        kinds: (N, Q) int64, positions in `KINDS`.
        centres: (N, 6, 2) int64, column and row of each colour's object.
        shapes: (N, 6) int64, 0 a square and 1 a circle.
    """

    images: Tensor
    questions: Tensor
    answers: Tensor
    kinds: Tensor
    centres: Tensor
    shapes: Tensor

    def asking(self, *kinds: str) -> "SortOfClevr":
        """Keep questions of some kinds: all of them for joint training, ``binary`` alone as AiT's paper has it.

        Args:
            *kinds: Of `KINDS`.

        Raises:
            ValueError: A kind is unknown, or none is given.
        """
        if not kinds or set(kinds) - set(KINDS):
            raise ValueError(f"Kinds of questions are {', '.join(KINDS)}; got {', '.join(kinds) or 'none'}.")
        # Every image has the same kinds in the same places.
        chosen = torch.isin(self.kinds[0], torch.tensor([KINDS.index(kind) for kind in kinds]))
        return replace(
            self, questions=self.questions[:, chosen], answers=self.answers[:, chosen], kinds=self.kinds[:, chosen]
        )


def generate_sort_of_clevr(
    count: int, seed: int, split: Literal["train", "test"] = "train", faithful: bool = False
) -> SortOfClevr:
    """Draw images, questions and their answers. A pure function of its arguments.

    The published set has `TRAINING_IMAGES` and `TEST_IMAGES`. Subtypes of each kind: non-relational, the
    shape, in the left half?, in the top half?; binary, the shape of the closest and of the furthest object,
    how many others have the same shape; ternary, of two objects A and B, how many others lie in their
    bounding box, is one within 12 pixels (vertically) of the line through them, how many form an obtuse
    triangle with them.

    Args:
        count: Images.
        seed: Decides everything.
        split: Images of different splits are drawn independently.
        faithful: Repeat two defects of the public generators, for comparison with published figures: ternary
            questions never name yellow, and the closest object to one that is more than 31.6 pixels from all
            others is itself.
    """
    generator = np.random.default_rng(stream_seed(seed, 0, f"sort-of-clevr {split}"))
    centres = _place(generator, count)
    shapes = generator.integers(0, 2, (count, _OBJECTS))
    asked = (count, len(KINDS) * QUESTIONS_A_KIND)
    kinds = np.broadcast_to(np.repeat(np.arange(len(KINDS)), QUESTIONS_A_KIND), asked)
    subtypes = generator.integers(0, 3, asked)
    first = generator.integers(0, _OBJECTS, asked)
    # Another colour than the first, each as likely.
    second = (first + generator.integers(1, _OBJECTS, asked)) % _OBJECTS
    if faithful:
        named = _OBJECTS - 1
        first = np.where(kinds == 2, generator.integers(0, named, asked), first)
        second = np.where(kinds == 2, (first + generator.integers(1, named, asked)) % named, second)
    choices = [
        answers[subtype]
        for answers in (
            _non_relational(centres, shapes, first),
            _binary(centres, shapes, first, faithful),
            _ternary(centres, first, second),
        )
        for subtype in range(3)
    ]
    answers = np.choose(kinds * 3 + subtypes, choices)
    questions = np.zeros((*asked, QUESTION_BITS), dtype=np.uint8)
    for bits in (first, kinds + _FIRST_KIND, subtypes + _FIRST_SUBTYPE):
        np.put_along_axis(questions, bits[..., None], 1, axis=2)
    # Only ternary questions name a second colour.
    np.put_along_axis(questions, second[..., None] + _OBJECTS, (kinds == 2)[..., None].astype(np.uint8), axis=2)
    arrays = (_draw(centres, shapes), questions, answers, kinds.copy(), centres, shapes)
    return SortOfClevr(*(torch.from_numpy(array) for array in arrays))


def _place(generator: np.random.Generator, count: int) -> np.ndarray:
    """Centres, (N, 6, 2), each drawn again until it is far enough from those before it."""
    centres = np.empty((count, _OBJECTS, 2), dtype=np.int64)
    for position in range(_OBJECTS):
        pending = np.arange(count)
        while len(pending):
            drawn = generator.integers(_RADIUS, SIZE - _RADIUS, (len(pending), 1, 2))
            centres[pending, position] = drawn[:, 0]
            squared = ((centres[pending, :position] - drawn) ** 2).sum(axis=2)
            pending = pending[(squared < _NEAREST).any(axis=1)]
    return centres


def _draw(centres: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Images, (N, 3, 75, 75); where objects touch, the later colour is on top."""
    images = np.full((len(centres), SIZE, SIZE, 3), 255, dtype=np.uint8)
    offset = np.arange(-_RADIUS, _RADIUS + 1)
    disc = offset[:, None] ** 2 + offset**2 <= _RADIUS**2  # (11, 11)
    number = np.arange(len(centres))[:, None, None]
    for position, colour in enumerate(_RGB):
        columns = centres[:, position, 0, None, None] + offset  # (N, 1, 11)
        rows = centres[:, position, 1, None, None] + offset[:, None]  # (N, 11, 1)
        filled = disc | (shapes[:, position, None, None] == 0)  # (N, 11, 11)
        images[number, rows, columns] = np.where(filled[..., None], colour, images[number, rows, columns])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _non_relational(centres: np.ndarray, shapes: np.ndarray, first: np.ndarray) -> list[np.ndarray]:
    """Answers to each subtype about object `first`, (N, Q) each."""
    shape = np.take_along_axis(shapes, first, axis=1)
    place = np.take_along_axis(centres, first[..., None], axis=1)  # (N, Q, 2)
    left, top = (np.where(place[..., axis] < SIZE / 2, _YES, _NO) for axis in (0, 1))
    return [_SHAPE + shape, left, top]


def _binary(centres: np.ndarray, shapes: np.ndarray, first: np.ndarray, faithful: bool) -> list[np.ndarray]:
    squared = ((centres[:, :, None] - centres[:, None]) ** 2).sum(axis=3)  # (N, 6, 6)
    itself = np.eye(_OBJECTS, dtype=bool)
    # The public generators set the distance to itself to 999, less than to an object 32 pixels away.
    closest = np.where(itself, 999 if faithful else 2 * SIZE**2, squared).argmin(axis=2)
    furthest = squared.argmax(axis=2)
    same = (shapes[:, :, None] == shapes[:, None]).sum(axis=2) - 1
    by_object = [
        _SHAPE + np.take_along_axis(shapes, closest, axis=1),
        _SHAPE + np.take_along_axis(shapes, furthest, axis=1),
        _COUNT + same,
    ]
    return [np.take_along_axis(answers, first, axis=1) for answers in by_object]


def _ternary(centres: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    a = np.take_along_axis(centres, first[..., None], axis=1)[:, :, None]  # (N, Q, 1, 2)
    b = np.take_along_axis(centres, second[..., None], axis=1)[:, :, None]
    c = centres[:, None]  # (N, 1, 6, 2)
    objects = np.arange(_OBJECTS)
    other = (objects != first[..., None]) & (objects != second[..., None])  # (N, Q, 6)
    between = ((np.minimum(a, b) <= c) & (c <= np.maximum(a, b))).all(axis=3)
    # Vertical distance to the line, times the run of A to B so that all is exact in integers; on a vertical
    # line lie the objects of its column.
    run, rise = np.moveaxis(b - a, 3, 0)
    off_line = np.abs(run * (c - a)[..., 1] - rise * (c - a)[..., 0])
    on_band = off_line <= _BAND * np.abs(run)
    sides = np.stack(np.broadcast_arrays(*(((p - q) ** 2).sum(axis=3) for p, q in ((a, b), (b, c), (c, a)))))
    obtuse = 2 * sides.max(axis=0) > sides.sum(axis=0)
    return [
        _COUNT + (between & other).sum(axis=2),
        np.where((on_band & other).any(axis=2), _YES, _NO),
        _COUNT + (obtuse & other).sum(axis=2),
    ]
