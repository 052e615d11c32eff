"""What the engine calls until it opens every source; goes with that change."""

from pathlib import Path

from rich.console import Console
from torch import Tensor

from training.data.decode import decode
from training.data.folder import scan_splits
from training.data.preprocessing import Preprocessing
from training.data.samples import LabelledImages
from training.data.splits import choose_validation


def find_splits(
    root: str | Path | None, fraction: float | None = None, seed: int = 0
) -> tuple[LabelledImages, LabelledImages]:
    """The training and the validation images below a folder; raises DataError as `scan_splits` does."""
    return choose_validation(*scan_splits(root or ""), fraction, seed)


def decode_folder(
    folder: LabelledImages, preprocessing: Preprocessing, cache: Path | None = None, console: Console | None = None
) -> Tensor:
    """All images of a folder at the model's input size; raises DataError as `decode` does."""
    return decode(folder, preprocessing, cache=cache, console=console)[1]
