"""The checkpoint folder: a timm ``local-dir`` folder, read and written with the standard library alone.

A checkpoint is ``config.json`` (architecture, preprocessing, class names, temperature) and ``model.safetensors``.
The trainer writes such folders; `timm.create_model("local-dir:FOLDER", pretrained=True)` and the service load them.
"""

from ait_lite.checkpoint.atomic import atomic_file, atomic_folder, repair_folder, replace_folder, sync, write_text
from ait_lite.checkpoint.bundled import bundled_folder, bundled_models, default_model, resolve
from ait_lite.checkpoint.config import read_config, update_config
from ait_lite.checkpoint.constants import (
    BEST,
    CONFIG,
    CORRECTIONS,
    EXEMPLARS,
    HEAD,
    MANIFEST,
    RECIPE,
    SERVING,
    WEIGHTS,
)
from ait_lite.checkpoint.errors import CheckpointError
from ait_lite.checkpoint.fingerprint import fingerprint
from ait_lite.checkpoint.labels import label_names, named_labels
from ait_lite.checkpoint.temperature import read_temperature

__all__ = [
    "BEST",
    "CONFIG",
    "CORRECTIONS",
    "EXEMPLARS",
    "HEAD",
    "MANIFEST",
    "RECIPE",
    "SERVING",
    "WEIGHTS",
    "CheckpointError",
    "atomic_file",
    "atomic_folder",
    "bundled_folder",
    "bundled_models",
    "default_model",
    "fingerprint",
    "label_names",
    "named_labels",
    "read_config",
    "read_temperature",
    "repair_folder",
    "replace_folder",
    "resolve",
    "sync",
    "update_config",
    "write_text",
]
