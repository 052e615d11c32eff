"""The model card (``README.md``) of a folder for the Hugging Face hub."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData
from timm.data.model_config import resolve_input_data_config
from torch import nn

from ait.associative_model import AssociativeModel
from ait.interpret.causal import INTERVENTIONS
from ait.latent import WorkspaceTransformer
from ait_lite.checkpoint import named_labels

# A card that lists a thousand classes is not read; the rest is in config.json.
_LISTED_CLASSES = 100
# What is done about images of another shape than the input's, by timm's crop mode.
_SHAPES = {"squash": "squashed to the input's shape", "border": "padded to the input's shape"}


def model_card(
    model: nn.Module, name: str, license: str | None = None, metrics: Mapping[str, Any] | None = None
) -> str:
    """Write a card with the metadata header that the hub reads.

    Args:
        model: A model that timm's factory made.
        name: Title of the card.
        license: Identifier such as ``apache-2.0``; None leaves the field out, for the author to fill in.
        metrics: How good the model is, by name; shown as they are, but for ``memory``: numbers of an
            `ait.interpret.causal.Effect` by intervention, which get a table of their own.
    """
    scores: dict[str, Any] = dict(metrics or {})
    memory = scores.pop("memory", None)
    associative = isinstance(model, AssociativeModel | WorkspaceTransformer)
    tags = ["image-classification", "timm", *(["associative-transformer"] if associative else [])]
    header = ModelCardData(
        license=license, library_name="timm", pipeline_tag="image-classification", tags=tags
    ).to_yaml()
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    data = resolve_input_data_config(model)
    labels = named_labels(config)
    facts = {
        "architecture": config.get("architecture", type(model).__name__),
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} M",
        "input": " x ".join(str(size) for size in data["input_size"]),
        "mean": ", ".join(f"{value:g}" for value in data["mean"]),
        "standard deviation": ", ".join(f"{value:g}" for value in data["std"]),
        "resize": _resizing(data),
        "classes": getattr(model, "num_classes", 0),
    }
    parts = [f"---\n{header.strip()}\n---", f"# {name}", "An image classifier.", _table("property", facts)]
    if scores:
        parts += ["## Metrics", _table("metric", scores)]
    if memory:
        parts += ["## What its memory does", _effects(memory)]
    parts += ["## Use", _usage(associative)]
    if labels:
        more = "" if len(labels) <= _LISTED_CLASSES else f" and {len(labels) - _LISTED_CLASSES} more (`config.json`)"
        parts += ["## Classes", ", ".join(labels[:_LISTED_CLASSES]) + more + "."]
    return "\n\n".join(parts) + "\n"


def _table(heading: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {heading} | value |", "|---|---|"]
    for name, value in rows.items():
        lines.append(f"| {name} | {f'{value:.4f}' if isinstance(value, float) else value} |")
    return "\n".join(lines)


def _resizing(data: Mapping[str, Any]) -> str:
    """Say what timm's evaluation does to an image of another size."""
    mode, share = data["crop_mode"], data["crop_pct"]
    steps = [data["interpolation"], _SHAPES.get(mode, "")]
    if mode == "center" or share < 1:
        steps.append(f"centre crop {share:g}")
    return ", ".join(step for step in steps if step)


def _effects(memory: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        f"| {INTERVENTIONS.get(name, name)} "
        f"| {100 * effect['accuracy_change']:+.2f} ± {100 * effect['accuracy_interval']:.2f} "
        f"| {effect['loss_change']:+.4f} ± {effect['loss_interval']:.4f} |"
        for name, effect in memory.items()
    ]
    header = ["| if | accuracy, points | loss, nats |", "|---|---|---|"]
    told = (
        "Differences from the model as it is, on images it was not trained on, with 95 % intervals: one that holds "
        "zero says that this part of the memory does not matter."
    )
    return "\n".join([told, "", *header, *rows])


def _usage(associative: bool) -> str:
    registration = "import ait  # of the associative-transformer package; registers the ait_* models\n"
    return f"""```python
import timm
{registration if associative else ""}
model = timm.create_model("hf-hub:OWNER/NAME", pretrained=True).eval()  # or local-dir:FOLDER
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
probabilities = model(transform(image).unsqueeze(0)).softmax(dim=1)
```"""
