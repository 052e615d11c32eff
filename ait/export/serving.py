"""Write a checkpoint folder that is served without torch."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.numpy import save_file
from torch import nn

from ait.export.agreement import ExportError
from ait.export.graph import most_images, write_graphs
from ait.export.place import new_folder
from ait.export.sample_images import read_pixels
from ait.memory.associative_head import AssociativeHead
from ait_lite.checkpoint import CONFIG, CORRECTIONS, EXEMPLARS, HEAD, WEIGHTS, read_config
from ait_lite.class_memory.head import LOG_BETA, PRIORS
from ait_lite.runtimes import Answering, PreparedModel, read_prepared
from ait_lite.runtimes.prepared import sha256


def export_serving(
    model: nn.Module,
    checkpoint: Path,
    folder: str | Path,
    *,
    int8: bool = True,
    images: Sequence[str | Path] = (),
) -> PreparedModel:
    """Write a folder with a model's graphs in place of its weights.

    It holds ``config.json`` (labels, preprocessing, temperature), the exemplars and the corrections of the checkpoint,
    the priors of an associative head, which memories of classes may begin with, the graph in fp32 and, where that
    answers as the model does, in int8, and the answers that they were compared with.

    Args:
        model: The checkpoint's model.
        checkpoint: Its folder.
        folder: Created; an existing one must be empty.
        int8: Whether to try int8.
        images: Files and folders of images to compare on and to calibrate int8 with, as `write_graphs` does; without
            any, the checkpoint's exemplars and made images.

    Raises:
        FileNotFoundError: There is no image where they are to be.
        ValueError: A file is not an image.
        ExportError: `checkpoint` is no checkpoint folder, `folder` holds files, or the model cannot be exported.
        OSError: The folder cannot be written.
    """
    folder = Path(folder)
    if not (checkpoint / CONFIG).is_file() or not (checkpoint / WEIGHTS).is_file():
        raise ExportError(f"{checkpoint} is no folder of a checkpoint, whose labels and preprocessing are needed.")
    answering = Answering.of(read_config(checkpoint))
    pixels = read_pixels(model, images, most_images(model)) if images else None
    with new_folder(folder) as candidate:
        for name in (CONFIG, EXEMPLARS, CORRECTIONS):
            if (checkpoint / name).is_file():
                shutil.copyfile(checkpoint / name, candidate / name)
        head = getattr(model, "head", None)
        if isinstance(head, AssociativeHead):
            priors = {PRIORS: head.weight, LOG_BETA: head.log_beta}
            save_file({name: each.detach().cpu().numpy() for name, each in priors.items()}, candidate / HEAD)
        write_graphs(
            model, candidate, checkpoint,
            weights=sha256(checkpoint / WEIGHTS), answering=answering, int8=int8, images=pixels,
        )  # fmt: skip
    return read_prepared(folder)
