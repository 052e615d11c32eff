"""Image data: labelled images of several sources, decoded once or when needed, and augmentation of whole batches."""

from training.data.augment.batch import BatchTransform
from training.data.augment.image_transform import create_image_transform
from training.data.augment.operations import Augmentation
from training.data.balance import balanced_order, class_weights
from training.data.decode import check, decode, default_cache
from training.data.loading import BatchLoader, UndecodedImages, dead_workers_named, to_device
from training.data.preprocessing import Preprocessing
from training.data.samples import LabelledImages
from training.data.sources.opening import open_evaluation, open_splits, open_training
from training.data.sources.sort_of_clevr import SortOfClevr, generate_sort_of_clevr
from training.data.sources.triangle import generate_triangles

__all__ = [
    "Augmentation",
    "BatchLoader",
    "BatchTransform",
    "LabelledImages",
    "Preprocessing",
    "SortOfClevr",
    "UndecodedImages",
    "balanced_order",
    "check",
    "class_weights",
    "create_image_transform",
    "dead_workers_named",
    "decode",
    "default_cache",
    "generate_sort_of_clevr",
    "generate_triangles",
    "open_evaluation",
    "open_splits",
    "open_training",
    "to_device",
]
