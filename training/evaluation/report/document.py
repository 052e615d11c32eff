"""Write the report of a run: one Markdown page, with its figures beside it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from ait.interpret.causal import INTERVENTIONS
from ait_lite.checkpoint import write_text
from training.evaluation.metrics import EvaluationResult
from training.evaluation.report.calibration import draw_reliability
from training.evaluation.report.classes import class_scores, draw_class_accuracy, extremes
from training.evaluation.report.confusion import draw_confusion, top_confusions
from training.evaluation.report.curves import draw_curves
from training.evaluation.report.figure import percent
from training.evaluation.report.memory import (
    NORM_RATIO,
    QUANTITIES,
    SCALE,
    draw_memory_health,
    memory_blocks,
    memory_effects,
)
from training.evaluation.report.mistakes import Images, Mistake, draw_mistakes, worst_mistakes

_CONFUSIONS = 10
_SAME_TEMPERATURE = 1e-3  # relative


def write_report(
    folder: Path,
    result: EvaluationResult,
    logits: Tensor,
    labels: Tensor,
    images: Images,
    *,
    title: str,
    files: Sequence[str] = (),
    history: Sequence[Mapping[str, float]] = (),
    best_epoch: int | None = None,
    memory: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    chosen_by: bool = False,
    figures: bool = True,
) -> Path:
    """Write ``report.md`` and its figures into a folder; what lies there under the same names is replaced.

    Args:
        folder: Created if there is none.
        result: What `training.evaluation.metrics.measure` says of the logits and labels.
        logits: (N, classes).
        labels: (N,) int64.
        images: The N images by position, each (C, H, W) uint8; only the worst mistakes are asked for.
        title: First line of the page, such as the model's name.
        files: The N images' names, for the table of mistakes; empty leaves them out.
        history: One row of metrics per epoch; empty leaves the curves out.
        best_epoch: The epoch of the model reported on, counted from 1; None names none.
        memory: Columns of `training.evaluation.memory_health` for the model reported on; empty leaves the memory out,
            None takes the best epoch's from `history`.
        settings: The run's recipe and whatever else YAML can hold; empty or None leaves them out.
        chosen_by: True where the images are those by which the best epoch was chosen.
        figures: False leaves the figures out, which take most of the time.

    Returns:
        The page's path.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logits, labels = logits.cpu(), labels.cpu()
    if memory is None:
        memory = next((row for row in history if row["epoch"] == best_epoch), {})
    figure = _Figures(folder if figures else None)
    parts = [
        [f"# {_plain(title)}", *_summary(result, len(history), best_epoch, chosen_by)],
        _curves(history, figure),
        _classes(result, figure),
        _confusions(result, figure),
        _calibration(result, figure),
        _mistakes(worst_mistakes(logits, labels), result, images, files, figure),
        _memory(history, memory, figure),
        _settings(settings or {}),
    ]
    path = folder / "report.md"
    write_text(path, "\n\n".join(paragraph for part in parts for paragraph in part) + "\n")
    return path


class _Figures:
    """Draw the figures of a page, each when the page comes to it.

    Args:
        folder: Where the page lies; None draws nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __call__(self, name: str, meaning: str, draw: Callable[[Path], None]) -> list[str]:
        """Draw a figure, and return the paragraph that shows it."""
        if self._folder is None:
            return []
        draw(self._folder / name)
        return [f"![{meaning}]({name})"]


def _summary(result: EvaluationResult, epochs: int, best_epoch: int | None, chosen_by: bool) -> list[str]:
    rows = [
        ("images", f"{result.images:,}", ""),
        ("classes", f"{len(result.classes):,}", ""),
        ("top-1 accuracy", f"{result.top1:.2%}", percent(result.top1_interval)),
    ]
    if result.top5 is not None and result.top5_interval is not None:
        rows.append(("top-5 accuracy", f"{result.top5:.2%}", percent(result.top5_interval)))
    rows += [
        ("negative log-likelihood (nats)", f"{result.nll:.4f}", ""),
        ("Brier score, 0 to 2", f"{result.brier:.4f}", ""),
        ("expected calibration error, 15 bins", f"{result.ece:.2%}", ""),
    ]
    if best_epoch is not None:
        rows.insert(0, ("best epoch", f"{best_epoch} of {epochs}" if epochs else str(best_epoch), ""))
    paragraphs = [_table(("", "", "95 % interval"), rows)]
    if chosen_by:
        paragraphs.append(
            "The best epoch was chosen by these same images, and the temperature fitted to them: expect a little less "
            "on others. `ait evaluate` scores the model on images that had no part in the run."
        )
    return paragraphs


def _curves(history: Sequence[Mapping[str, float]], figure: _Figures) -> list[str]:
    if not history:
        return []
    meaning = "Loss, accuracy and learning rate over the epochs"
    drawn = figure("curves.png", meaning, lambda path: draw_curves(history, path))
    return ["## Training", *drawn] if drawn else []


def _classes(result: EvaluationResult, figure: _Figures) -> list[str]:
    scores = class_scores(result.confusion, result.classes)
    drawn = figure("classes.png", "Accuracy of each class", lambda path: draw_class_accuracy(scores, path))
    best, worst = extremes(scores)
    header = ("class", "images", "right", "accuracy", "precision", "95 % interval of the accuracy")
    rows = [
        (
            _plain(score.name),
            f"{score.images:,}",
            f"{score.right:,}",
            f"{score.accuracy:.1%}",
            "–" if score.precision is None else f"{score.precision:.1%}",
            percent(score.interval),
        )
        for score in (*best, *worst)
    ]
    paragraphs = ["## Classes", *drawn]
    if worst:
        paragraphs.append(f"The {len(best)} best and the {len(worst)} worst of {len(scores):,} classes:")
    return [*paragraphs, _table(header, rows)]


def _confusions(result: EvaluationResult, figure: _Figures) -> list[str]:
    def draw(path: Path) -> None:
        draw_confusion(result.confusion, result.classes, path, title=f"{result.top1:.2%} correct")

    rows = [
        (
            _plain(result.classes[pair.true]),
            _plain(result.classes[pair.given]),
            f"{pair.images:,}",
            f"{pair.share:.1%}",
        )
        for pair in top_confusions(result.confusion, _CONFUSIONS)
    ]
    paragraphs = figure("confusion.png", "Confusion matrix", draw)
    if rows:
        paragraphs += ["The most frequent:", _table(("true", "predicted", "images", "of the true class"), rows)]
    return ["## Confusions", *paragraphs] if paragraphs else []


def _calibration(result: EvaluationResult, figure: _Figures) -> list[str]:
    def draw(path: Path) -> None:
        draw_reliability(result.reliability, path, f"calibration error {result.ece:.2%}")

    carried, best = result.checkpoint_temperature, result.temperature
    columns = [("as they are", result.nll, result.ece)]
    told = []
    if carried is not None:
        told.append(
            f"The checkpoint carries the temperature {carried:.3f}, which the service divides its logits by: "
            f"it was found {_tendency(carried)}."
        )
        columns.append((f"divided by {carried:.3f}", *_carried_errors(result)))
    if carried is None or not math.isclose(carried, best, rel_tol=_SAME_TEMPERATURE):
        told.append(
            f"The temperature that fits these images best is {best:.3f}: on them the model is {_tendency(best)}."
            + (" The checkpoint's was fitted to other images." if carried is not None else "")
        )
        columns.append((f"divided by {best:.3f}", result.nll_at_temperature, result.ece_at_temperature))
    fitted = "The last column was" if len(columns) > 2 or carried is None else "The temperature was"
    return [
        "## Calibration",
        *figure("reliability.png", "Accuracy by confidence", draw),
        " ".join(told),
        _table(
            ("of the logits", *(name for name, _, _ in columns)),
            [
                ("negative log-likelihood (nats)", *(f"{nll:.4f}" for _, nll, _ in columns)),
                ("expected calibration error", *(f"{ece:.2%}" for _, _, ece in columns)),
            ],
        ),
        f"{fitted} fitted to these same images, so that other images gain a little less.",
    ]


def _tendency(temperature: float) -> str:
    return "too sure of itself" if temperature > 1 else "too unsure"


def _carried_errors(result: EvaluationResult) -> tuple[float, float]:
    nll, ece = result.nll_at_checkpoint_temperature, result.ece_at_checkpoint_temperature
    assert nll is not None
    assert ece is not None
    return nll, ece


def _mistakes(
    mistakes: Sequence[Mistake], result: EvaluationResult, images: Images, files: Sequence[str], figure: _Figures
) -> list[str]:
    def draw(path: Path) -> None:
        draw_mistakes(mistakes, images, result.classes, path)

    if not mistakes:
        return ["## Worst mistakes", "None: every image was answered right."]
    paragraphs = [
        "## Worst mistakes",
        "The wrong answers of highest confidence; some may be wrong labels.",
        *figure("mistakes.png", "Contact sheet of the worst mistakes", draw),
    ]
    if files:
        rows = [
            (
                _plain(files[mistake.index]),
                _plain(result.classes[mistake.true]),
                _plain(result.classes[mistake.given]),
                f"{mistake.confidence:.1%}",
            )
            for mistake in mistakes
        ]
        paragraphs.append(_table(("file", "true", "given", "confidence"), rows))
    return paragraphs


def _memory(history: Sequence[Mapping[str, float]], memory: Mapping[str, float], figure: _Figures) -> list[str]:
    paragraphs = _effects(memory)
    if any(memory_blocks(row) for row in history):
        meaning = "The memory's health over the epochs"
        paragraphs += figure("memory.png", meaning, lambda path: draw_memory_health(history, path))
    blocks = memory_blocks(memory)
    quantities = (*QUANTITIES, NORM_RATIO, SCALE)
    if blocks:
        rows = [
            (
                str(block),
                *(f"{values[quantity.name]:.3g}" if quantity.name in values else "–" for quantity in quantities),
            )
            for block, values in blocks.items()
        ]
        paragraphs.append(_table(("block", *(quantity.title for quantity in quantities)), rows))
        paragraphs.append("\n".join(f"- {quantity.title}: {quantity.meaning}" for quantity in quantities))
    return ["## Memory", *paragraphs] if paragraphs else []


def _effects(memory: Mapping[str, float]) -> list[str]:
    """Tell what the answers lose without the memory: that comes first, for the rest only describes it."""
    effects = memory_effects(memory)
    if not effects:
        return []
    rows = [
        (
            INTERVENTIONS.get(name, name),
            f"{100 * effect['accuracy_change']:+.2f} ± {100 * effect['accuracy_interval']:.2f}",
            f"{effect['loss_change']:+.4f} ± {effect['loss_interval']:.4f}",
        )
        for name, effect in effects.items()
    ]
    return [
        "What is lost without the memory, on a sample of the images: differences from the model as it is, with 95 % "
        "intervals of the paired difference. An interval that holds zero says that the memory does not matter.",
        _table(("intervention", "accuracy, points", "loss, nats"), rows),
    ]


def _settings(settings: Mapping[str, Any]) -> list[str]:
    if not settings:
        return []
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    # Longer than any fence within, for a path may hold one.
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return ["## Settings", f"{fence}yaml\n{text}{fence}"]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table with the first column to the left and numbers to the right."""
    numeric = [all(re.match(r"[-–]?[\d.,–]*\s?%?$", row[column]) for row in rows) for column in range(len(header))]
    rule = ["--:" if right and column else ":--" for column, right in enumerate(numeric)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|$~#])", r"\\\1", " ".join(text.split()))
