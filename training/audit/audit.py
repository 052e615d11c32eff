"""Look through the images of a model: copies, doubtful labels, memorisation."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from training.audit.findings import TITLES, Finding, find_copies, find_doubtful_labels
from training.audit.images import SeenImages, see_images
from training.audit.memorisation import Memorisation, measure_memorisation
from training.audit.report import write_report
from training.data.sources.folder import Layout

# As they are listed; within a kind the surest first.
_ORDER = tuple(TITLES)


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        images: What was looked at.
        findings: By kind, the surest first.
        memorisation: What distances of features say.
    """

    images: SeenImages
    findings: tuple[Finding, ...]
    memorisation: Memorisation

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in _ORDER}

    def to_json(self) -> dict[str, Any]:
        """Return the figures, as what JSON can hold."""
        told = self.memorisation
        return {
            "images": {name: len(samples) for name, samples in self.images.parts.items()},
            "findings": self.counts,
            "memorisation_auc": told.auc,
            "radius": told.radius,
            "smallest_distance": told.smallest,
            "train_accuracy": told.train_accuracy,
            "test_accuracy": told.test_accuracy,
        }


def audit(
    checkpoint: Path,
    data: Path,
    output: Path | None = None,
    *,
    device: torch.device | str | None = None,
    layout: Layout = "auto",
    cache: Path | None = None,
    console: Console | None = None,
) -> Audit:
    """Audit all images of a data folder with a model.

    Args:
        checkpoint: The checkpoint folder.
        data: Holds ``train/`` and ``val/`` or ``test/``; or class folders directly.
        output: Folder for the report; None writes none.
        device: Where to compute; None takes an accelerator where there is one.
        layout: As a recipe's ``data.layout``.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Raises:
        CheckpointError: The folder is no checkpoint, or its weights are torn.
        DataError: The data cannot be used, or holds classes that the model does not know.
        OSError: The report cannot be written.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    images = see_images(checkpoint, data, device=place, layout=layout, cache=cache, console=console)
    found = [*find_copies(images), *find_doubtful_labels(images)]
    found.sort(key=lambda finding: (_ORDER.index(finding.kind), -finding.score, finding.image))
    result = Audit(images, tuple(found), measure_memorisation(images))
    if output is not None:
        write_report(output, checkpoint.name, images, result.findings, result.memorisation)
    return result
