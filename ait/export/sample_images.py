"""Inputs to try a model on: images from files, and made ones where there are none."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data.model_config import resolve_input_data_config
from torch import Tensor, nn
from torch.nn import functional as F

from ait_lite.images.crop import Cropping
from ait_lite.images.errors import ImageError
from ait_lite.images.files import list_images, read_image


def read_images(model: nn.Module, paths: Iterable[str | Path], limit: int = 16) -> Tensor:
    """Read images as a model's configuration wants them.

    Args:
        model: A timm model.
        paths: Image files, and folders whose images, at any depth, are used; hidden entries are not.
        limit: Most images; of more, some evenly spread over the sorted list are taken.

    Returns:
        Normalised pixels, shape (N, C, H, W).

    Raises:
        FileNotFoundError: A path does not exist, or there is no image.
        ValueError: A file is not an image, or the model takes images of other channels than grey or RGB.
    """
    config = resolve_input_data_config(model)
    mean, std = (torch.tensor(config[name]).view(-1, 1, 1) for name in ("mean", "std"))
    # In place, in the order of torchvision's ToTensor and Normalize: equal to them to the bit.
    return torch.from_numpy(read_pixels(model, paths, limit)).float().div_(255).sub_(mean).div_(std)


def read_pixels(model: nn.Module, paths: Iterable[str | Path], limit: int) -> np.ndarray:
    """Read images at the size that a model's configuration wants.

    Args:
        model: A timm model.
        paths: As for `read_images`.
        limit: As for `read_images`.

    Returns:
        Uint8 (N, C, H, W).

    Raises:
        FileNotFoundError: As `read_images`.
        ValueError: As `read_images`.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += [path / image for image in list_images(path).images]
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder of images.")
    if not files:
        raise FileNotFoundError("There is no image file in the folders of images.")
    count = min(limit, len(files))
    chosen = [files[index * len(files) // count] for index in range(count)]
    crop = Cropping(resolve_input_data_config(model))
    return np.stack([crop(_open(file)) for file in chosen])


def made_images(model: nn.Module, count: int = 16, seed: int = 0) -> Tensor:
    """Make images, each a colour gradient under noise of a few scales, from smooth to rough.

    Args:
        model: A timm model; its configuration gives size, mean and standard deviation.
        count: Images N.
        seed: Of the noise.

    Returns:
        Normalised pixels, shape (N, C, H, W).
    """
    config = resolve_input_data_config(model)
    channels, height, width = config["input_size"]
    generator = torch.Generator().manual_seed(seed)
    down, across = torch.linspace(0, 1, height).view(-1, 1), torch.linspace(0, 1, width).view(1, -1)
    made = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        gradient = math.cos(angle) * across + math.sin(angle) * down  # (H, W)
        colours = torch.rand(channels, 1, 1, generator=generator) * 2 - 1
        cells = 2 ** (1 + index % 5)  # a side
        noise = torch.rand(1, channels, cells, cells, generator=generator)
        noise = F.interpolate(noise, size=(height, width), mode="bilinear", align_corners=True)[0]
        made.append((noise + 0.5 * colours * gradient).clamp(0, 1))
    mean, std = (torch.tensor(config[name]).view(-1, 1, 1) for name in ("mean", "std"))
    return (torch.stack(made) - mean) / std


def _open(file: Path) -> Image.Image:
    try:
        return read_image(file)
    except ImageError as error:
        raise ValueError(f"{file}: {error}") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}).") from error
