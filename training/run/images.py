"""The images of a run: decoded, ordered, and handed out in batches."""

from collections.abc import Callable, Generator
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from training.data import (
    BatchLoader,
    LabelledImages,
    Preprocessing,
    UndecodedImages,
    balanced_order,
    check,
    class_weights,
    create_image_transform,
    decode,
    to_device,
)
from training.data.remarks import remark_on_scale, remarks_on
from training.errors import DataError, RecipeError
from training.evaluation.scoring import EVALUATION_BATCH
from training.recipe.keys import Recipe
from training.seeds import epoch_order, repeat_order

_SCALE_IMAGES = 256  # that tell how bright images are


class RunImages:
    """Training and validation images of a recipe, at the model's input size.

    Args:
        recipe: Reads the sections `data` and `augment`, `batch_size` and `seed`.
        training: Images to learn from.
        validation: Images held out.
        preprocessing: To which size, and how, they are brought.
        device: Where ``data.caching=device`` holds them.
        console: Where decoding shows its progress.

    Attributes:
        training: The images to learn from; without those that cannot be decoded, if the recipe skips them.
        validation: The images held out, likewise.
        labels: (N,) int64, of the training images; or (N, classes) float32, 1 for each class that one has.
        class_weights: (classes,) float32 factors of the loss, or None.
        weights: (N,) float32 factors of the training images' losses, 1 on average, or None.

    Raises:
        DataError: Images cannot be decoded, or do not fit on the device.
        RecipeError: Images are to be kept where their augmentation cannot reach them.
    """

    def __init__(
        self,
        recipe: Recipe,
        training: LabelledImages,
        validation: LabelledImages,
        preprocessing: Preprocessing,
        device: torch.device,
        console: Console,
    ) -> None:
        self._balance = recipe.data.balance
        self._repeats = recipe.augment.repeats
        self._batch_size = recipe.batch_size
        self._seed = recipe.seed
        self._transform = create_image_transform(recipe.augment, preprocessing)
        if self._transform is not None and recipe.data.caching == "device" and device.type != "cpu":
            raise RecipeError(
                "augment.policy and augment.resized_crop change single images on the CPU, and data.caching=device "
                "holds them on the accelerator: set data.caching=ram"
            )

        def ready(samples: LabelledImages) -> tuple[LabelledImages, Tensor | UndecodedImages]:
            data = recipe.data
            if data.caching == "none":
                samples = check(samples, broken=data.broken, cache=data.cache, console=console)
                return samples, UndecodedImages(samples, preprocessing)
            samples, images = decode(samples, preprocessing, broken=data.broken, cache=data.cache, console=console)
            return samples, to_device(images, device) if data.caching == "device" else images

        self.training, images = ready(training)
        self.validation, held_out = ready(validation)
        random_weights = recipe.model.checkpoint is None and not recipe.model.pretrained
        if self.training.weights is not None and (recipe.method == "closed_form" or recipe.head_first):
            console.print("a head in closed form counts all images alike, whatever their weight", soft_wrap=True)
        for line in remarks_on(self.training, self.validation, random_weights):
            console.print(line, soft_wrap=True, markup=False)
        targets = self.training.targets
        self.labels = self.training.labels if targets is None else targets
        self.class_weights: Tensor | None = None
        if recipe.data.balance == "loss":
            self.class_weights = class_weights(self.labels, len(self.training.classes)).to(device)
        self.weights = _mean_one(self.training.weights, self.training.origin)
        pinned = device.type == "cuda"
        self._loader = BatchLoader(images, recipe.data.workers, pin_memory=pinned)
        self._validation_loader = BatchLoader(held_out, recipe.data.workers, pin_memory=pinned)
        far = remark_on_scale(self.some(_SCALE_IMAGES).cpu(), preprocessing) if random_weights else None
        if far is not None:
            console.print(far, soft_wrap=True, markup=False)

    def __len__(self) -> int:
        return len(self.training)

    @property
    def steps_per_epoch(self) -> int:
        """Updates per epoch."""
        return -(-len(self) // self._batch_size)

    def some(self, count: int) -> Tensor:
        """Take the first images that the first epoch visits, not augmented: (count, C, H, W) uint8."""
        return self._loader.take(epoch_order(len(self), self._seed, 0)[:count])

    def order(self, epoch: int) -> list[Tensor]:
        """List the positions of the images of every update of an epoch, each (B,) int64."""
        if self._balance == "sampler":
            order = balanced_order(self.labels, self._seed, epoch)
        else:
            order = epoch_order(len(self), self._seed, epoch)
        return list(torch.split(repeat_order(order, self._repeats), self._batch_size))

    def batches(
        self, order: list[Tensor], epoch: int, rows: Callable[[int], Tensor], start: int
    ) -> Generator[Tensor, None, None]:
        """Yield what this process needs of each update's images; close the generator to end its workers.

        Args:
            order: The epoch's `order`.
            epoch: Counted from 0.
            rows: From a batch's size to the rows that this process needs of it.
            start: The first update.

        Yields:
            (rows, C, H, W) uint8.
        """
        return self._loader.batches(order, epoch, self._seed, self._transform, start, rows)

    def training_images(self, positions: Tensor) -> Tensor:
        """Take the training images at some positions, not augmented: (n, C, H, W) uint8."""
        return self._loader.take(positions)

    def validation_batches(self, positions: Tensor) -> Generator[Tensor, None, None]:
        """Yield the validation images at some positions in batches of evaluation, (B, C, H, W) uint8."""
        return self._validation_loader.batches(list(torch.split(positions, EVALUATION_BATCH)))

    def validation_images(self, positions: Tensor) -> Tensor:
        """Take the validation images at some positions: (n, C, H, W) uint8."""
        return self._validation_loader.take(positions)


def _mean_one(weights: Tensor | None, origin: Path) -> Tensor | None:
    """Scale weights to a mean of 1, so that the loss, and with it the learning rate, keeps its scale."""
    if weights is None:
        return None
    total = weights.double().sum()
    if not total:
        raise DataError(f"all training images of {origin} have the weight 0")
    return (weights.double() * (len(weights) / total)).float()


class ImageByPosition:
    """The validation images one by one, to show a few of them.

    Args:
        images: The run's.
    """

    def __init__(self, images: RunImages) -> None:
        self._images = images

    def __getitem__(self, index: int) -> Tensor:
        """Take the image at a position: (C, H, W) uint8, on the CPU."""
        return self._images.validation_images(torch.tensor([index]))[0].cpu()
