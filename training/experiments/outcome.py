"""What an experiment found, and whether theory agrees."""

from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Check:
    """One figure against the range that theory allows.

    Attributes:
        name: What is measured.
        measured: The figure.
        low: Smallest allowed figure.
        high: Largest allowed figure.
        theory: What theory predicts, where it predicts a number.
        theory_range: The range that theory itself gives, lowest and highest, where what is allowed here is wider.
    """

    name: str
    measured: float
    low: float
    high: float
    theory: float | None = None
    theory_range: tuple[float, float] | None = None

    @classmethod
    def near(cls, name: str, measured: float, theory: float, *, share: float = 0.0, margin: float = 0.0) -> "Check":
        """Allow a share of the predicted number, plus a margin, on either side."""
        slack = share * abs(theory) + margin
        return cls(name, float(measured), theory - slack, theory + slack, theory)

    @classmethod
    def learnt(cls, name: str, accuracy: float, classes: int, images: int) -> "Check":
        """Allow an accuracy that guessing reaches on so many images once in 700 times, or a better one."""
        chance = 1 / classes
        return cls(name, float(accuracy), chance + 3 * (chance * (1 - chance) / images) ** 0.5, 1.0)

    @property
    def passed(self) -> bool:
        """True if the figure lies in the range; never for NaN."""
        return self.low <= self.measured <= self.high

    @property
    def within_theory(self) -> bool:
        """True if the figure lies in theory's own range, which is the allowed one unless another is given."""
        low, high = self.theory_range or (self.low, self.high)
        return low <= self.measured <= high


@dataclass(frozen=True)
class Outcome:
    """The result of an experiment.

    Attributes:
        title: One line that says what was measured.
        checks: Figures with their allowed ranges.
        figure: The plot.
        figures: Everything else that was measured, as JSON values.
        markdown: Tables for the documentation; empty: none.
    """

    title: str
    checks: list[Check]
    figure: Figure
    figures: dict[str, Any] = field(default_factory=dict)
    markdown: str = ""

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)
