"""The report shows what was measured, for few classes and for many, with a memory and without."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from training.evaluation.metrics import measure
from training.evaluation.report import write_report
from training.evaluation.report.classes import class_scores
from training.evaluation.report.confusion import top_confusions
from training.evaluation.report.mistakes import draw_mistakes, worst_mistakes

QUANTITIES = ("effective_rank_priors", "usage_perplexity", "retrieval_snr", "energy_drop")
HISTORY = [
    {"epoch": epoch, "step": 10 * epoch, "lr": 0.1, "train_loss": 1 / epoch, "train_acc": 0.5, "val_acc": 0.4}
    | {f"memory/block{block}/{name}": 1.0 + epoch + block for block in range(2) for name in QUANTITIES}
    for epoch in (1, 2, 3)
]


def made_answers(classes: int, images: int = 120) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % classes
    return 2 * F.one_hot(labels, classes) + torch.randn(images, classes, generator=generator), labels


def write(folder: Path, logits: Tensor, labels: Tensor, classes: Sequence[str], **options: Any) -> str:
    images = options.pop("images", torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8))
    result = measure(logits, labels, classes, options.pop("temperature", None))
    options.setdefault("figures", False)
    return write_report(folder, result, logits, labels, images, title="made", **options).read_text(encoding="utf-8")


def linked(folder: Path, page: str) -> set[str]:
    """Names of the page's figures, each of which is a file."""
    names = set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page))
    for name in names:
        with Image.open(folder / name) as image:
            assert image.format == "PNG"
            assert min(np.asarray(image.convert("L")).shape) > 100
    return names


@pytest.mark.parametrize(("classes", "history"), [(2, []), (3, HISTORY), (45, HISTORY[:1])])
def test_every_figure_of_the_page_is_there(classes: int, history: list[dict[str, float]], tmp_path: Path) -> None:
    names = [f"kind {label}" for label in range(classes)]
    told: dict[str, Any] = {"history": history, "best_epoch": 1 if history else None}
    page = write(tmp_path, *made_answers(classes), names, **told, figures=True)
    expected = {"classes.png", "confusion.png", "reliability.png", "mistakes.png"}
    if history:
        expected |= {"curves.png", "memory.png"}
    assert linked(tmp_path, page) == expected
    assert {path.name for path in tmp_path.iterdir()} == expected | {"report.md"}
    # Without them, the page is the same but for the paragraphs that show them.
    bare = write(tmp_path / "bare", *made_answers(classes), names, **told)
    assert [path.name for path in (tmp_path / "bare").iterdir()] == ["report.md"]
    shown = [paragraph for paragraph in page.strip().split("\n\n") if not paragraph.startswith("![")]
    assert bare.strip().split("\n\n") == [paragraph for paragraph in shown if paragraph != "## Training"]


def test_a_model_without_a_memory_has_no_such_chapter(tmp_path: Path) -> None:
    history = [{name: value for name, value in row.items() if "/" not in name} for row in HISTORY]
    page = write(tmp_path, *made_answers(3), "abc", history=history, best_epoch=2, figures=True)
    assert "curves.png" in page
    assert "Memory" not in page
    assert not (tmp_path / "memory.png").exists()


def test_the_page_tells_epoch_accuracy_memory_and_settings(tmp_path: Path) -> None:
    logits, labels = made_answers(3)
    page = write(tmp_path, logits, labels, "abc", history=HISTORY, best_epoch=2, settings={"model": {"name": "ait_x"}})
    assert "| best epoch | 2 of 3 |" in page
    assert f"| top-1 accuracy | {(logits.argmax(dim=1) == labels).double().mean():.2%} |" in page
    # Of the best epoch, not the last; a quantity that was not measured is a dash.
    assert "| 1 | 4 | – | 4 | – | 4 | 4 | – |" in page
    assert "model:\n  name: ait_x\n" in page


def test_figures_have_intervals_and_five_classes_no_first_five(tmp_path: Path) -> None:
    logits, labels = made_answers(6)
    result = measure(logits, labels, "abcdef")
    assert result.top5_interval is not None
    (low, high), (low5, high5) = result.top1_interval, result.top5_interval
    page = write(tmp_path, logits, labels, "abcdef")
    assert f"| top-1 accuracy | {result.top1:.2%} | {100 * low:.1f}–{100 * high:.1f}% |" in page
    assert f"| top-5 accuracy | {result.top5:.2%} | {100 * low5:.1f}–{100 * high5:.1f}% |" in page
    assert "chosen by these same images" not in page
    page = write(tmp_path, *made_answers(5), "abcde", chosen_by=True)
    assert "top-5" not in page
    assert "chosen by these same images" in page


def test_one_temperature_is_told_where_there_is_one(tmp_path: Path) -> None:
    logits, labels = made_answers(3)
    best = measure(logits, labels, "abc").temperature
    header = "| of the logits | as they are |"
    page = write(tmp_path, logits, labels, "abc")
    assert f"{header} divided by {best:.3f} |" in page
    page = write(tmp_path, logits, labels, "abc", temperature=best)
    assert f"carries the temperature {best:.3f}" in page
    assert f"{header} divided by {best:.3f} |\n" in page
    page = write(tmp_path, logits, labels, "abc", temperature=2 * best)
    assert f"{header} divided by {2 * best:.3f} | divided by {best:.3f} |\n" in page
    assert "The checkpoint's was fitted to other images." in page


def test_settings_with_a_fence_stay_in_theirs(tmp_path: Path) -> None:
    page = write(tmp_path, *made_answers(2), "ab", settings={"root": "a ```` b"})
    assert page.rstrip().endswith("\n`````")


def test_what_is_lost_without_the_memory_comes_with_its_interval(tmp_path: Path) -> None:
    effect = {"accuracy_change": -0.0125, "accuracy_interval": 0.02, "loss_change": 0.5, "loss_interval": 0.1}
    memory = {f"memory/effect/retrieval_off/{name}": value for name, value in effect.items()}
    page = write(tmp_path, *made_answers(3), "abc", memory=memory | {"memory/effect/accuracy": 0.8})
    assert "| nothing is retrieved, and nothing merged | -1.25 ± 2.00 | +0.5000 ± 0.1000 |" in page


def test_without_mistakes_the_page_says_so(tmp_path: Path) -> None:
    labels = torch.arange(12) % 3
    page = write(tmp_path, 9.0 * F.one_hot(labels, 3), labels, "abc", figures=True)
    assert "every image was answered right" in page
    assert linked(tmp_path, page) == {"classes.png", "confusion.png", "reliability.png"}
    assert "most frequent" not in page


def test_names_with_marks_of_markdown_and_formulas_stay_as_they_are(tmp_path: Path) -> None:
    names = ["a|b", "$x", "y$ _z_", r"back\slash", "<b>&", "two\nlines", "n" * 200]
    files = [f"{index}|.png" for index in range(120)]
    page = write(tmp_path, *made_answers(len(names)), names, files=files, figures=True)
    for line in page.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 5, 6, 7), line
    assert r"a\|b" in page
    assert r"y\$ \_z\_" in page
    assert "two lines" in page


def test_the_worst_mistakes_are_the_confident_ones_in_order() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0])
    logits = torch.tensor([[0.0, 3.0], [0.0, 9.0], [0.0, 5.0], [1.0, 0.0], [0.0, 5.0]])
    mistakes = worst_mistakes(logits, labels)
    assert [mistake.index for mistake in mistakes] == [2, 4, 0, 3]
    assert [(mistake.true, mistake.given) for mistake in mistakes] == [(0, 1), (0, 1), (0, 1), (1, 0)]
    assert mistakes[0].confidence == pytest.approx(float(torch.tensor(5.0).sigmoid()))
    assert worst_mistakes(logits, labels, count=1) == mistakes[:1]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_contact_sheet_shows_the_chosen_images_and_asks_for_no_others(channels: int, tmp_path: Path) -> None:
    shades = (20, 60, 100, 140, 180)

    class Recorded:
        asked: list[int]

        def __getitem__(self, index: int) -> Tensor:
            self.asked.append(index)
            return torch.full((channels, 8, 6), shades[index], dtype=torch.uint8)

    images = Recorded()
    images.asked = []
    logits = torch.tensor([[0.0, 3.0], [0.0, 9.0], [0.0, 5.0], [0.0, 1.0], [0.0, 5.0]])
    mistakes = worst_mistakes(logits, torch.tensor([0, 1, 0, 1, 1]))
    draw_mistakes(mistakes, images, ["ant", "bee"], tmp_path / "sheet.png")
    assert images.asked == [2, 0]
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).reshape(-1, 3)
    areas = [int((pixels == shade).all(axis=1).sum()) for shade in shades]
    assert min(areas[0], areas[2]) > 10_000
    # Of other shades there is no more than what the edges of letters have.
    assert max(areas[1], areas[3], areas[4]) < 100


def test_the_most_frequent_confusions_come_first() -> None:
    confusion = torch.tensor([[8, 2, 0], [5, 4, 1], [0, 0, 0]])
    found = [(pair.true, pair.given, pair.images, pair.share) for pair in top_confusions(confusion, 9)]
    assert found == [(1, 0, 5, 0.5), (0, 1, 2, 0.2), (1, 2, 1, 0.1)]
    assert len(top_confusions(confusion, 2)) == 2


def test_class_scores_are_recall_and_precision() -> None:
    scores = class_scores(torch.tensor([[8, 2, 0], [5, 4, 0], [0, 0, 0]]), ("ant", "bee", "cat"))
    assert [(score.name, score.accuracy, score.precision) for score in scores] == [
        ("ant", 8 / 10, 8 / 13),
        ("bee", 4 / 9, 4 / 6),
    ]


def test_of_many_classes_the_extremes_are_told(tmp_path: Path) -> None:
    classes = 50
    labels = torch.arange(500) % classes
    # Class 7 is always taken for class 8, all else is right.
    logits = 9.0 * F.one_hot(torch.where(labels == 7, 8, labels), classes)
    names = [f"kind{label}" for label in range(classes)]
    page = write(tmp_path, logits, labels, names)
    assert "The 12 best and the 12 worst of 50 classes:" in page
    assert "| kind7 | 10 | 0 | 0.0% | – | 0.0–27.8% |" in page
    assert "| kind7 | kind8 | 10 | 100.0% |" in page
