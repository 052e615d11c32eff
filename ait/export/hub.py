"""Write a model as a folder for the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.data.model_config import resolve_input_data_config
from timm.models import save_for_hf
from torch import Tensor, nn

from ait.export.agreement import Export, ExportError, check_agreement
from ait.export.model_card import model_card
from ait.export.place import new_folder
from ait.export.prepare import prepare
from ait_lite.checkpoint import named_labels


def export_hub(
    model: nn.Module,
    folder: str | Path,
    images: Tensor | None = None,
    *,
    license: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    temperature: float | None = None,
) -> Export:
    """Write a folder ready for the Hugging Face hub: ``config.json``, ``model.safetensors``, ``README.md``.

    timm loads it, as ``local-dir:FOLDER`` and, once uploaded, as ``hf-hub:OWNER/NAME``. Its outputs must equal
    the model's to the last bit.

    Args:
        model: A model that timm's factory made; it is left as it is.
        folder: Created; an existing one must be empty.
        images: Normalised pixels to compare on, shape (N, C, H, W); None takes made ones.
        license: Identifier for the card's header, such as ``apache-2.0``; None leaves the field to its author.
        metrics: How good the model is, and under ``memory`` what it loses without its memory; goes into
            ``config.json`` and the card.
        temperature: What its logits are divided by, as the checkpoint says; goes into ``config.json``. Exemplars are
            not taken along: they are training images, which not everyone may see.

    Raises:
        ExportError: The folder holds files, timm's factory did not make the model, or the folder's model
            answers otherwise.
        OSError: The folder cannot be written.
    """
    folder = Path(folder)
    if not getattr(model, "pretrained_cfg", None):
        raise ExportError(f"{type(model).__name__} is not a model of timm's factory, which would have to load it.")
    eager, images = prepare(model, images, probabilities=False)
    config: dict[str, Any] = {"metrics": dict(metrics)} if metrics else {}
    if temperature is not None:
        config["temperature"] = temperature
    if labels := named_labels(vars(model)["pretrained_cfg"]):
        config["label_names"] = list(labels)
    with new_folder(folder) as candidate:
        save_for_hf(
            eager,
            str(candidate),
            model_config=config,
            safe_serialization=True,
            data_config=resolve_input_data_config(model),
        )
        card = model_card(eager, folder.resolve().name, license, metrics)
        (candidate / "README.md").write_text(card, encoding="utf-8")
        reloaded = timm.create_model(f"local-dir:{candidate}", pretrained=True).eval()
        agreement = check_agreement(eager, reloaded, images, 0.0, "hub folder")
    return Export(folder, sum(file.stat().st_size for file in folder.iterdir()), agreement)
