"""Write a model as a ``torch.export`` program."""

import json
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ait.export.agreement import TOLERANCE, Export, check_agreement
from ait.export.place import new_file
from ait.export.prepare import metadata, prepare, trace

METADATA_FILE: Final = "metadata.json"


def export_program(
    model: nn.Module,
    path: str | Path,
    images: Tensor | None = None,
    *,
    probabilities: bool = False,
    temperature: float | None = None,
    tolerance: float = TOLERANCE,
) -> Export:
    """Write a ``torch.export`` program with a dynamic batch, in float32 for the CPU.

    ``torch.export.load(path).module()`` maps normalised pixels (B, C, H, W) to logits (B, num_classes); the
    extra file ``metadata.json`` holds label names and preprocessing (`metadata`).

    Args:
        model: A timm model; it is left as it is.
        path: The ``.pt2`` file; replaced if it exists.
        images: Normalised pixels to compare on, shape (N, C, H, W); None takes made ones.
        probabilities: Give probabilities in place of logits.
        temperature: What logits are divided by for probabilities that are shares of right answers, as the checkpoint
            says; None if it does not. It is told in the metadata, and the logits stay as they are.
        tolerance: Largest difference, as a share of the largest output.

    Raises:
        ExportError: The model cannot be exported, or the file's outputs differ from the model's.
        OSError: The file cannot be written.
    """
    eager, images = prepare(model, images, probabilities, temperature)
    with new_file(Path(path)) as candidate:
        program = trace(eager, images)
        about = json.dumps(metadata(model, probabilities, temperature))
        torch.export.save(program, candidate, extra_files={METADATA_FILE: about})
        reloaded = torch.export.load(candidate).module()
        agreement = check_agreement(eager, reloaded, images, tolerance, "torch.export program")
    return Export(Path(path), Path(path).stat().st_size, agreement)
