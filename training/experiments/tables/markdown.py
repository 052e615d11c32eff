"""Tables in Markdown, ours beside theirs."""

from collections.abc import Iterable, Sequence
from statistics import mean, stdev
from typing import Any, Final

# What tables say of figures that `accuracy` writes of several seeds.
SPREAD: Final = ", ± the standard deviation over seeds"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def accuracy(results: Sequence[dict[str, Any]]) -> str:
    """Write the mean over seeds in per cent, with the standard deviation where there are several."""
    values = [100 * result["accuracy"] for result in results]
    if not values:
        return "–"
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def theirs(value: float | None, unchecked: bool = False) -> str:
    """Write a published figure, with a star where it could not be checked."""
    return "–" if value is None else f"{value:.2f}" + ("*" if unchecked else "")


def cost(result: dict[str, Any]) -> list[str]:
    """Write parameters and multiply-adds, both in millions."""
    return [f"{result['parameters'] / 1e6:.2f}", f"{result['multiply_adds'] / 1e6:.1f}"]
