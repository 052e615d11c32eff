"""Sort-of-CLEVR's answers are those of plain loops over objects, and its images show the objects."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import SortOfClevr, generate_sort_of_clevr
from training.data.sources.sort_of_clevr import ANSWERS, COLOURS

RGB = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 156, 0),
    "grey": (128, 128, 128),
    "yellow": (255, 255, 0),
}
Point = tuple[int, int]


def answer(bits: list[int], centres: list[Point], shapes: list[int], faithful: bool) -> str:
    """The answer to one question, in words, by looking at one object after another."""
    (first,) = (index for index in range(6) if bits[index])
    seconds = [index for index in range(6) if bits[6 + index]]
    (kind,) = (index for index in range(3) if bits[12 + index])
    (subtype,) = (index for index in range(3) if bits[15 + index])
    assert len(seconds) == (kind == 2)
    word = ["rectangle", "circle"]
    a = centres[first]
    if kind == 0:
        return [word[shapes[first]], "yes" if a[0] <= 37 else "no", "yes" if a[1] <= 37 else "no"][subtype]
    if kind == 1:
        others = [index for index in range(6) if index != first]
        if subtype == 2:
            return str(sum(shapes[other] == shapes[first] for other in others))
        distances = {other: math.dist(a, centres[other]) for other in others}
        if faithful and subtype == 0:
            distances[first] = math.sqrt(999)
        wanted = min(distances.values()) if subtype == 0 else max(distances.values())
        return word[shapes[min(index for index in distances if distances[index] == wanted)]]
    b = centres[seconds[0]]
    assert seconds[0] != first
    others_at = [centres[index] for index in range(6) if index not in (first, seconds[0])]
    if subtype == 0:
        return str(sum(within(c[0], a[0], b[0]) and within(c[1], a[1], b[1]) for c in others_at))
    if subtype == 1:
        return "yes" if any(on_band(a, b, c) for c in others_at) else "no"
    return str(sum(obtuse(a, b, c) for c in others_at))


def within(value: int, one: int, other: int) -> bool:
    return one <= value <= other or other <= value <= one


def on_band(a: Point, b: Point, c: Point) -> bool:
    if a[0] == b[0]:
        return c[0] == a[0]
    height = a[1] + (c[0] - a[0]) * (b[1] - a[1]) / (b[0] - a[0])
    return abs(c[1] - height) <= 12 + 1e-9


def obtuse(a: Point, b: Point, c: Point) -> bool:
    """Whether a corner's two sides point away from each other."""
    corners = ((a, b, c), (b, c, a), (c, a, b))
    return any((q[0] - p[0]) * (r[0] - p[0]) + (q[1] - p[1]) * (r[1] - p[1]) < 0 for p, q, r in corners)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), faithful=st.booleans())
def test_answers_are_those_of_plain_loops(seed: int, faithful: bool) -> None:
    made = generate_sort_of_clevr(8, seed, faithful=faithful)
    for image in range(8):
        centres = [tuple(centre) for centre in made.centres[image].tolist()]
        shapes = made.shapes[image].tolist()
        for bits, found in zip(made.questions[image].tolist(), made.answers[image].tolist(), strict=True):
            assert ANSWERS[found] == answer(bits, centres, shapes, faithful)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_objects_are_inside_and_apart(seed: int) -> None:
    made = generate_sort_of_clevr(8, seed)
    assert made.centres.min() >= 5
    assert made.centres.max() <= 69
    for centres in made.centres.tolist():
        for index, one in enumerate(centres):
            assert all((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2 >= 100 for other in centres[:index])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_pictures_show_the_objects(seed: int) -> None:
    made = generate_sort_of_clevr(3, seed)
    assert made.images.shape == (3, 3, 75, 75)
    for image, centres, shapes in zip(made.images, made.centres.tolist(), made.shapes.tolist(), strict=True):
        expected = torch.full((75, 75, 3), 255, dtype=torch.uint8)
        for colour, (column, row), shape in zip(COLOURS, centres, shapes, strict=True):
            for y in range(row - 5, row + 6):
                for x in range(column - 5, column + 6):
                    if shape == 0 or math.hypot(x - column, y - row) <= 5:
                        expected[y, x] = torch.tensor(RGB[colour], dtype=torch.uint8)
        assert torch.equal(image, expected.permute(2, 0, 1))


@pytest.fixture(scope="module")
def many() -> SortOfClevr:
    return generate_sort_of_clevr(400, seed=0)


def test_ten_questions_of_each_kind_name_every_colour_and_subtype(many: SortOfClevr) -> None:
    assert many.questions.shape == (400, 30, 18)
    for kind in range(3):
        asked = many.questions[many.kinds == kind].long()
        assert len(asked) == 4000
        assert (asked[:, 12 + kind] == 1).all()
        assert asked.sum(dim=1).unique().tolist() == [4 if kind == 2 else 3]
        # Each of the six colours, and of the three subtypes, about as often as the others.
        assert (asked[:, :6].sum(dim=0) - 4000 / 6).abs().max() < 120
        assert (asked[:, 15:].sum(dim=0) - 4000 / 3).abs().max() < 150
    second = many.questions[many.kinds == 2][:, 6:12].long().sum(dim=0)
    assert (second - 4000 / 6).abs().max() < 120
    assert set(many.answers.unique().tolist()) == set(range(10))


def test_faithful_repeats_two_defects_on_the_same_pictures(many: SortOfClevr) -> None:
    faithful = generate_sort_of_clevr(400, seed=0, faithful=True)
    assert torch.equal(faithful.images, many.images)
    ternary = faithful.questions[faithful.kinds == 2].long()
    assert ternary[:, [5, 11]].sum() == 0
    assert (ternary[:, :5].sum(dim=0) - 800).abs().max() < 130
    assert (ternary[:, 6:11].sum(dim=0) - 800).abs().max() < 130
    # Binary questions are the same; some answers about the closest of isolated objects differ.
    binary = many.kinds == 1
    assert torch.equal(faithful.questions[binary], many.questions[binary])
    differ = faithful.answers[binary] != many.answers[binary]
    assert 0 < differ.sum() < 400
    assert many.questions[binary][differ][:, 15].all()


def test_everything_is_a_function_of_seed_and_split() -> None:
    made, again = generate_sort_of_clevr(5, seed=3), generate_sort_of_clevr(5, seed=3)
    for name in ("images", "questions", "answers", "kinds", "centres", "shapes"):
        assert torch.equal(getattr(made, name), getattr(again, name))
    for other in (generate_sort_of_clevr(5, seed=4), generate_sort_of_clevr(5, seed=3, split="test")):
        assert not torch.equal(made.centres, other.centres)


def test_questions_of_some_kinds_are_kept(many: SortOfClevr) -> None:
    binary = many.asking("binary")
    assert torch.equal(binary.answers, many.answers[:, 10:20])
    assert torch.equal(binary.questions, many.questions[:, 10:20])
    assert (binary.kinds == 1).all()
    assert torch.equal(many.asking("ternary", "non-relational", "binary").answers, many.answers)
    for wrong in ((), ("unary",)):
        with pytest.raises(ValueError, match="binary"):
            many.asking(*wrong)
