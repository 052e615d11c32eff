"""Print the figures of an evaluation as tables on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.evaluation.metrics import EvaluationResult
from training.evaluation.report.classes import class_scores, extremes
from training.evaluation.report.figure import percent


def print_result(result: EvaluationResult, console: Console) -> None:
    """Print the overall figures, and those of each class, or of the best and the worst of many.

    Args:
        result: What to print.
        console: Where to.
    """
    overall = Table(title=f"{result.images:,} images, {len(result.classes):,} classes", show_header=False)
    overall.add_column()
    overall.add_column(justify="right")
    rows = [("top-1 accuracy", f"{result.top1:.2%}"), ("  95 % interval", percent(result.top1_interval))]
    if result.top5 is not None:
        rows.append(("top-5 accuracy", f"{result.top5:.2%}"))
    rows += [
        ("negative log-likelihood, without a temperature", f"{result.nll:.4f}"),
        ("Brier score", f"{result.brier:.4f}"),
        ("calibration error (ECE)", f"{result.ece:.2%}"),
    ]
    if result.checkpoint_temperature is not None:
        rows += [
            ("the checkpoint's temperature", f"{result.checkpoint_temperature:.3f}"),
            ("  calibration error at it", f"{result.ece_at_checkpoint_temperature:.2%}"),
        ]
    rows += [
        ("the temperature that fits these images", f"{result.temperature:.3f}"),
        ("  calibration error at it", f"{result.ece_at_temperature:.2%}"),
    ]
    for name, value in rows:
        overall.add_row(name, value)
    console.print(overall)
    scores = class_scores(result.confusion, result.classes)
    best, worst = extremes(scores)
    title = f"the {len(best)} best and the {len(worst)} worst of {len(scores):,} classes" if worst else "each class"
    table = Table("class", title=title)
    for column in ("images", "right", "accuracy", "precision"):
        table.add_column(column, justify="right")
    for group in (best, worst):
        for score in group:
            precision = "–" if score.precision is None else f"{score.precision:.2%}"
            table.add_row(
                escape(score.name), f"{score.images:,}", f"{score.right:,}", f"{score.accuracy:.2%}", precision
            )
        table.add_section()
    console.print(table)
