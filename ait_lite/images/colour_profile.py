"""Colours as an embedded ICC profile means them -> sRGB, which every model's input is taken to be in.

Photographs of telephones come in Display P3, of cameras in Adobe RGB, of presses in CMYK: without the profile
their colours are pale or wrong.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

# Profiles of presses take up to three megabytes. What is larger is no profile, and costs memory to look at.
MAX_PROFILE_BYTES = 8 * 2**20

_KEPT_TRANSFORMS = 16  # of a megabyte each, at most; a collection of images has few profiles
_SAME = 2  # levels of 255: what two makers' sRGB profiles differ by
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_GREY_MODES = frozenset({"1", "L", "LA"})


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image from the colours of its profile to sRGB.

    Relative colorimetric with black point compensation: white stays white and black stays black. A profile that
    is broken, or for another kind of image, changes nothing.

    Args:
        image: Decoded, of any mode.
        profile: The bytes of the ICC profile that the file embeds.

    Returns:
        An image in mode RGB, or RGBA where the image has transparency; the image itself where its profile is
        sRGB or of no use.
    """
    mode = "CMYK" if image.mode == "CMYK" else "L" if image.mode in _GREY_MODES else "RGB"
    transform = _transforms.get(profile, mode)
    if transform is None:
        return image
    clear = image.has_transparency_data
    if mode == "CMYK":
        return transform.apply(image)
    if mode == "RGB":
        opaque = "RGBA" if clear else "RGB"
        converted = transform.apply(image.convert("RGB"))
    else:
        opaque = "LA" if clear else "L"
        converted = transform.apply(image.convert("L"))
    if clear:
        converted.putalpha(image.convert(opaque).getchannel("A"))
    return converted


class _Transforms:
    """The latest conversions by profile, which take milliseconds to make."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = OrderedDict()

    def get(self, profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
        """Return the conversion of images of a mode, or None where there is nothing to convert."""
        if len(profile) > MAX_PROFILE_BYTES:
            return None
        key = hashlib.sha256(profile).digest(), mode
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        transform = _make(profile, mode)
        with self._lock:
            self._kept[key] = transform
            while len(self._kept) > _KEPT_TRANSFORMS:
                self._kept.popitem(last=False)
        return transform


_transforms = _Transforms()


def _make(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if _MODES.get(source.profile.xcolor_space) != mode:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # a broken profile must not cost a good image
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return True where no colour of a lattice moves, as with the profiles that call themselves sRGB."""
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18, -1, 3)
    moved = np.asarray(transform.apply(Image.fromarray(lattice)))
    return int(np.abs(moved.astype(int) - lattice).max()) <= _SAME
