"""Tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ait_lite.wording import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NARROWEST = 90  # characters of the tables at most; few have more than 80
_COMPARED_CLASSES = 20
_DIFFERENCE = "difference\n(95 % interval)"


def model_table(result: Mapping[str, Any]) -> Table:
    """Lay out the result of `ait.benchmark.benchmark_model` as a table.

    Args:
        result: The result's ``to_dict()``.
    """
    from rich.table import Table

    library = result["gemm_library"]
    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s ({library[name]})" for name, rate in result["gemm_gflops"].items())
    table = Table(title=f"{result['device']}, {result['threads']} threads; best matrix product: {rates}")
    for column in ("model", "phase", "runtime", "precision", "batch", "images/s", "of GEMM rate", "same label"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for case in result["measurements"]:
        table.add_row(
            case["model"],
            case["phase"],
            case["runtime"],
            case["precision"],
            str(case["batch_size"]),
            f"{case['images_per_second']:.1f}",
            f"{case['gemm_fraction']:.2f}",
            f"{case['agreement']['same_label']:.2%}" if case["agreement"] else "",
        )
    table.caption = "\n".join(f"left out: {name}: {reason}" for name, reason in result["left_out"].items()) or None
    return table


def training_table(result: Mapping[str, Any]) -> Table:
    """Lay out the result of `training.benchmark.throughput.benchmark_training` as a table.

    Args:
        result: The result's ``to_dict()``.
    """
    from rich.table import Table

    table = Table(
        title=f"{result['model']}, batch {result['batch_size']}, {result['precision']}, {result['device']}, "
        f"{result['threads']} threads, {result['workers']} workers"
    )
    for column in ("images from", "images/s", "of the synthetic rate"):
        table.add_column(column, justify="left" if column == "images from" else "right")
    for case in result["throughputs"]:
        table.add_row(case["feed"], f"{case['images_per_second']:.1f}", f"{case['share']:.3f}")
    return table


def prediction_table(result: Mapping[str, Any]) -> Table:
    """Lay out the rates of `ait.file_prediction_benchmark.benchmark_prediction` as a table.

    Args:
        result: Model, device, and the rates' ``to_dict()`` as ``rates``.
    """
    from rich.table import Table

    table = Table(title=f"{result['model']}, {result['device']}")
    for column in ("files", "count", "images/s", "plain loop", "of the plain loop's rate"):
        table.add_column(column, justify="left" if column == "files" else "right")
    for case in result["rates"]:
        table.add_row(
            case["files"],
            f"{case['count']:,}",
            f"{case['images_per_second']:.1f}",
            f"{case['plain_per_second']:.1f}",
            f"{case['share']:.3f}",
        )
    return table


def memory_tables(result: Mapping[str, Any]) -> list[Table]:
    """Lay out the result of `ait bench memory` as tables.

    Args:
        result: The result.
    """
    from rich.table import Table

    speed = Table(title="a memory of classes, milliseconds")
    for case in result["speed"]:
        if not speed.columns:
            for column in case:
                speed.add_column(column.replace("_", " "), justify="right")
        speed.add_row(*(f"{value:,}" if isinstance(value, int) else f"{value:.2f}" for value in case.values()))
    tables = [speed]
    if result["accuracy"]:
        first = result["accuracy"][0]
        accuracy = Table(title=f"accuracy on {first['images']} images, percent; {_draws(first)} of the examples")
        for column in ("examples per class", *first["accuracy"]):
            accuracy.add_column(column, justify="right")
        for case in result["accuracy"]:
            accuracy.add_row(str(case["per_class"]), *_with_deviations(case["accuracy"], case["deviation"]))
        tables.append(accuracy)
    if unknown := result["unknown"]:
        classes = f"{unknown['held_out']} class{'es' if unknown['held_out'] > 1 else ''} held out"
        found = Table(title=f"{classes}, {unknown['images']} images in {_draws(unknown)}; percent")
        for column in (f"level {unknown['level']:.1%}:", *unknown["figures"]):
            found.add_column(column, justify="right")
        found.add_row("", *_with_deviations(unknown["figures"], unknown["deviation"]))
        tables.append(found)
    return tables


def comparison_table(result: Mapping[str, Any]) -> Table:
    """Lay out the result of `training.evaluation.comparison.paired.compare`, the most different classes first.

    Args:
        result: The result's ``to_json()``.
    """
    from rich.markup import escape

    shown, title = _most_different(result)
    table = _narrow_table("per cent right", title)
    for column in ("images", "first", "second", _DIFFERENCE, "only\nfirst", "only\nsecond", "p"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, each in (("all", result["overall"]), *shown):
        table.add_row(
            escape(name),
            f"{each['images']:,}",
            f"{100 * each['first']:.2f}",
            f"{100 * each['second']:.2f}",
            _difference(each),
            f"{each['only_first']:,}",
            f"{each['only_second']:,}",
            f"{each['p_value']:.3f}",
            end_section=each is result["overall"],
        )
    return table


def multi_label_comparison_table(result: Mapping[str, Any]) -> Table:
    """Lay out the result of `training.evaluation.comparison.multi_label.compare_multi_label`, likewise.

    Args:
        result: The result's ``to_json()``.
    """
    from rich.markup import escape

    shown, title = _most_different(result)
    table = _narrow_table("average precision", title)
    for column in ("images", "first", "second", _DIFFERENCE):
        table.add_column(column, justify="right", no_wrap=True)
    for name, each in (("mean over classes", result["overall"]), *shown):
        interval = "few images" if each["interval"] is None else "{:+.4f} to {:+.4f}".format(*each["interval"])
        table.add_row(
            escape(name),
            f"{each['images']:,}",
            f"{each['first']:.4f}",
            f"{each['second']:.4f}",
            f"{each['difference']:+.4f} ({interval})",
            end_section=each is result["overall"],
        )
    return table


def readout_table(result: Mapping[str, Any]) -> Table:
    """Lay out the result of `training.teaching.comparison.compare_readouts`, the head first.

    Args:
        result: The result's ``to_json()``.
    """
    taught = f"{counted(result['examples'], 'example')} of {result['classes']:,} classes"
    table = _narrow_table("per cent right", f"{result['images']:,} images, asked of a memory of {taught}")
    table.add_column("accuracy", justify="right")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    if result["head"]:
        for column in ("less the head's\n(95 % interval)", "only\nhead", "only\nmemory", "p"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_row("head", *_share(result["head"]), end_section=True)
    for each in result["readouts"]:
        cells = [each["readout"], *_share(each)]
        if compared := each["against_head"]:
            cells += [_difference(compared), f"{compared['only_first']:,}", f"{compared['only_second']:,}"]
            cells.append(f"{compared['p_value']:.3f}")
        table.add_row(*cells)
    return table


def wide_console() -> Console:
    """Make a console that is wide enough for tables: lines that a terminal breaks lose nothing."""
    from rich.console import Console

    console = Console()
    return console if console.width >= _NARROWEST else Console(width=_NARROWEST)


def _share(each: Mapping[str, Any]) -> tuple[str, str]:
    """Write a share and its interval in percent."""
    low, high = (100 * end for end in each["interval"])
    return f"{100 * each['accuracy']:.2f}", f"{low:.2f} to {high:.2f}"


def _difference(each: Mapping[str, Any]) -> str:
    """Write the difference of two shares and its interval in percent."""
    low, high = (100 * end for end in each["interval"])
    return f"{100 * each['difference']:+.2f} ({low:+.2f} to {high:+.2f})"


def _narrow_table(first: str, title: str) -> Table:
    """Make a table without lines between columns, so that eight of them fit into a narrow terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(first, title=title, box=SIMPLE_HEAD, padding=0)


def _most_different(result: Mapping[str, Any]) -> tuple[list[tuple[str, Any]], str]:
    """Choose the classes of a comparison that differ most; write the title that says so."""
    classes = sorted(result["per_class"].items(), key=lambda item: -abs(item[1]["difference"]))
    shown = classes[:_COMPARED_CLASSES]
    most = f", the {len(shown)} classes of {len(classes):,} that differ most" if len(shown) < len(classes) else ""
    return shown, f"{result['overall']['images']:,} images{most}"


def _draws(case: Mapping[str, Any]) -> str:
    return "one draw" if case["draws"] == 1 else f"{case['draws']} draws"


def _with_deviations(means: Mapping[str, float], deviations: Mapping[str, float] | None) -> Iterator[str]:
    """Write shares in percent, with what they deviate by where that is known."""
    for name, mean in means.items():
        yield f"{100 * mean:.1f}" + (f" ± {100 * deviations[name]:.1f}" if deviations else "")
