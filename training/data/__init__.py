"""Image data: class folders decoded once, and augmentation of whole batches."""

from training.data.augment import Augmentation
from training.data.batch import BatchTransform
from training.data.folder import ImageFolder, decode_folder, find_splits, scan_folder
from training.data.image_transform import create_image_transform
from training.data.preprocessing import Preprocessing

__all__ = [
    "Augmentation",
    "BatchTransform",
    "ImageFolder",
    "Preprocessing",
    "create_image_transform",
    "decode_folder",
    "find_splits",
    "scan_folder",
]
