"""The folder of models that the page is tried on."""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import timm
import torch
from PIL import Image, ImageOps
from timm.data import create_transform, resolve_model_data_config
from torchvision.transforms.functional import pil_to_tensor

from ait.interpret.embedding import embed_and_classify
from ait.interpret.exemplars import Exemplars, thumbnail
from ait.pretrained import load_model
from ait_lite.checkpoint import bundled_models
from tests.support.page.ui_images import airplane, ship
from tests.support.servers.service_client import LABELS

NAME = "ait_tiny_patch4_32.cifar10"


def make_models(root: Path, plain: Path) -> None:
    """Fills a folder: the bundled model with exemplars, two versions without a memory, and a broken model.

    Args:
        root: gets `<NAME>/1`, `colours/1` (which has no patch map), `colours/2` (which has one) and `broken/1`.
        plain: a model without a memory.
    """
    shutil.copytree(bundled_models()[NAME], root / NAME / "1")
    _add_exemplars(root / NAME / "1")
    shutil.copytree(plain, root / "colours" / "2")
    size = {"img_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 2}
    timm.models.save_for_hf(
        timm.create_model("xcit_nano_12_p16_224", num_classes=len(LABELS), **size),
        root / "colours" / "1",
        model_config={"label_names": LABELS, "model_args": size},
        data_config={"input_size": (3, 32, 32), "crop_pct": 1.0},
        safe_serialization=True,
    )
    shutil.copytree(plain, root / "broken" / "1")
    (root / "broken" / "1" / "model.safetensors").write_bytes(b"torn")


@torch.no_grad()
def _add_exemplars(folder: Path) -> None:
    """For each class an airplane and a ship, in colours of its own."""
    model = load_model(folder).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    images = [
        ImageOps.colorize(Image.open(BytesIO(data)).convert("L"), "black", f"hsl({36 * label}, 80%, 70%)")
        for label in range(10)
        for data in (airplane(), ship())
    ]
    features, logits = embed_and_classify(model, torch.stack([transform(image) for image in images]))
    thumbnails, sizes = zip(*(thumbnail(pil_to_tensor(image)) for image in images), strict=True)
    names = tuple(f"train/{index}.png" for index in range(20))
    Exemplars(features, logits, torch.arange(20) // 2, names, thumbnails, sizes).save(folder)
