"""The values that a search tries for a key of a recipe."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from training.errors import RecipeError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_INTERVAL = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?P<log>:log)?")
_INTEGER = re.compile(r"[-+]?\d+")
_EXAMPLES = "optimizer.lr=1e-5..1e-2:log, batch_size=16..64 or augment.policy=none|randaugment"


@dataclass(frozen=True)
class Interval:
    """All numbers between two, both included.

    Attributes:
        key: Of the recipe, dotted.
        low: The smallest.
        high: The largest.
        whole: True takes integers alone.
        log: True draws the logarithm evenly.
    """

    key: str
    low: float
    high: float
    whole: bool
    log: bool

    def suggest(self, trial: optuna.Trial) -> str:
        """Let a trial choose a value, as an override has it."""
        if self.whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log))
        return repr(trial.suggest_float(self.key, self.low, self.high, log=self.log))

    def ends(self) -> tuple[str, ...]:
        """Return the values that a recipe must accept if it is to accept all."""
        return tuple(str(int(end)) if self.whole else repr(end) for end in (self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """One of a few values.

    Attributes:
        key: Of the recipe, dotted.
        values: As an override has them.
    """

    key: str
    values: tuple[str, ...]

    def suggest(self, trial: optuna.Trial) -> str:
        """Let a trial choose a value."""
        return str(trial.suggest_categorical(self.key, self.values))

    def ends(self) -> tuple[str, ...]:
        """Return the values that a recipe must accept."""
        return self.values


Range = Interval | Choice


def parse_ranges(texts: Sequence[str]) -> tuple[Range, ...]:
    """Read ranges such as ``optimizer.lr=1e-5..1e-2:log`` and ``augment.policy=none|randaugment``.

    Raises:
        RecipeError: One is of another form, empty, or given twice.
    """
    ranges = tuple(_parse(text) for text in texts)
    keys = [each.key for each in ranges]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise RecipeError(f"--range {twice[0]} is given twice")
    if not ranges:
        raise RecipeError(f"no --range: say what to search, such as {_EXAMPLES}")
    return ranges


def _parse(text: str) -> Range:
    key, equals, values = (part.strip() for part in text.partition("="))
    if not key or not equals or not values:
        raise RecipeError(
            f"--range {text!r} is not of the form KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A|B, such as {_EXAMPLES}"
        )
    match = _INTERVAL.fullmatch(values)
    if match is None:
        choices = tuple(value.strip() for value in values.split("|"))
        if len(choices) < 2 or len(set(choices)) < len(choices):
            raise RecipeError(f"--range {text!r} names no two different values; write {_EXAMPLES}")
        return Choice(key, choices)
    low, high, log = float(match["low"]), float(match["high"]), match["log"] is not None
    if not low < high:
        raise RecipeError(f"--range {text!r}: the first number must be the smaller one")
    if log and low <= 0:
        raise RecipeError(f"--range {text!r}: :log needs numbers above 0")
    whole = all(_INTEGER.fullmatch(match[end]) for end in ("low", "high"))
    return Interval(key, low, high, whole, log)
