"""Image data: class folders decoded once, and augmentation of whole batches."""

from training.data.augment import Augmentation
from training.data.folder import ImageFolder, decode_folder, find_splits, scan_folder
from training.data.preprocessing import Preprocessing

__all__ = ["Augmentation", "ImageFolder", "Preprocessing", "decode_folder", "find_splits", "scan_folder"]
