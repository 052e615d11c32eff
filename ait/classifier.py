"""A trained classifier with all that belongs to it: preprocessing, class names, temperature.

import ait

model = ait.load("ait_tiny_patch4_32.cifar10")  # or a checkpoint folder, such as runs/mine/best
model.predict("cat.jpg")  # [("cat", 0.97), ("dog", 0.02), ...]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch
from PIL import Image
from timm.data.model_config import resolve_input_data_config
from torch import Tensor, nn

from ait.interpret.embedding import embed, embed_and_classify
from ait.interpret.explain import Explanation, explain
from ait.pretrained import load_model
from ait_lite.checkpoint import CONFIG, label_names, read_config, read_temperature, resolve
from ait_lite.corrections import Corrections, load_corrections
from ait_lite.images.crop import Cropping
from ait_lite.images.files import decode_file, read_image
from ait_lite.images.upright import upright_rgb

ImageLike = str | Path | bytes | Image.Image
Labels = list[tuple[str, float]]


def load(reference: str | Path, device: torch.device | str | None = None, batch_size: int = 64) -> "Classifier":
    """Load a classifier with its preprocessing and class names.

    Args:
        reference: Checkpoint folder, such as ``runs/mine/best``; name of a bundled model; or name of a timm model
            with pretrained weights.
        device: Where it runs; None is an accelerator if there is one, else the CPU.
        batch_size: Most images in one forward pass.

    Raises:
        FileNotFoundError: There is no such model, or its weights cannot be had; the message says what helps.
        ait_lite.checkpoint.CheckpointError: The checkpoint's configuration or its corrections cannot be used.
        ValueError: The model takes images of other channels than grey or RGB.
    """
    model = load_model(reference)
    folder = resolve(reference)
    config = read_config(folder) if (folder / CONFIG).is_file() else {"pretrained_cfg": model.pretrained_cfg}
    chosen = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
    return Classifier(model.to(chosen), config, batch_size, load_corrections(folder))


class Classifier:
    """A model that takes images as they are, and answers with class names.

    Images are decoded and cropped as in training, evaluation and the service: upright, transparency on white.

    Attributes:
        model: The timm model, in evaluation mode.
        labels: Class names, by index.
        temperature: What logits are divided by for probabilities; None if the checkpoint carries none.
        multi_label: True if an image may be of any number of classes; each has a probability of its own then.
        data_config: timm's description of the input: size, mean, std, interpolation, crop.
        batch_size: Most images in one forward pass.
        corrections: Answers to single images that probabilities follow; None if the checkpoint carries none.
    """

    def __init__(
        self,
        model: nn.Module,
        config: dict[str, Any],
        batch_size: int = 64,
        corrections: Corrections | None = None,
    ) -> None:
        """Join a model with its configuration.

        Args:
            model: A timm classifier.
            config: What ``config.json`` of its checkpoint holds.
            batch_size: Most images in one forward pass.
            corrections: Those of the checkpoint, if any.

        Raises:
            ait_lite.checkpoint.CheckpointError: Class names or temperature cannot be used.
            ValueError: It takes images of other channels than grey or RGB.
        """
        model.eval()
        self.model: Any = model
        self.labels = label_names(config, getattr(model, "num_classes", 0))
        self.temperature = read_temperature(config)
        self.multi_label = bool(config.get("multi_label"))
        self.data_config = resolve_input_data_config(model)
        self.batch_size = batch_size
        self.corrections = corrections
        self._crop = Cropping(self.data_config)
        self._mean = torch.tensor(self.data_config["mean"], device=self.device).view(-1, 1, 1)
        self._std = torch.tensor(self.data_config["std"], device=self.device).view(-1, 1, 1)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @overload  # bytes are a sequence too, of numbers
    def predict(  # type: ignore[overload-overlap]
        self, images: ImageLike, top_k: int = 5
    ) -> Labels: ...
    @overload
    def predict(self, images: Sequence[ImageLike], top_k: int = 5) -> list[Labels]: ...

    def predict(self, images: ImageLike | Sequence[ImageLike], top_k: int = 5) -> Labels | list[Labels]:
        """Name what is in one image, or in each of several.

        Args:
            images: Path, bytes of a file or PIL image; or a list of them.
            top_k: Classes to name; more than there are means all.

        Returns:
            (class name, probability), the most probable first; a list of such for a list of images.

        Raises:
            OSError: A file cannot be read.
            ait_lite.images.decode.ImageError: An image cannot be used; the message says why.
        """
        several = [images] if isinstance(images, ImageLike) else list(images)
        answers: list[Labels] = []
        for part in _parts(several, self.batch_size):
            answers += self.name(self.probabilities(part), top_k)
        return answers[0] if isinstance(images, ImageLike) else answers

    def name(self, probabilities: Tensor, top_k: int = 5) -> list[Labels]:
        """Name the most probable classes of each image.

        Args:
            probabilities: (B, num_classes).
            top_k: Classes to name; more than there are means all.
        """
        best = probabilities.topk(min(top_k, len(self.labels)), dim=-1)
        return [
            [(self.labels[index], value) for index, value in zip(row, values, strict=True)]
            for row, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def probabilities(self, images: Sequence[ImageLike]) -> Tensor:
        """Give class probabilities, shape (B, num_classes), float32 on the CPU, in one forward pass.

        Raises:
            OSError, ait_lite.images.decode.ImageError: As `predict`.
        """
        return self.classify(self.pixels(images))

    @torch.inference_mode()
    def classify(self, batch: Tensor) -> Tensor:
        """Give class probabilities of normalised pixels (B, C, H, W): (B, num_classes), float32 on the CPU."""
        if self.corrections is None:
            logits = self.model(batch).float().cpu()
        else:
            features, answers = embed_and_classify(self.model, batch)
            corrected = self.corrections.apply(features.cpu().numpy(), answers.cpu().numpy())
            logits = torch.from_numpy(corrected.logits)
        if self.multi_label:
            return logits.sigmoid()
        return (logits / (self.temperature or 1.0)).softmax(-1)

    @torch.inference_mode()
    def embed(self, images: ImageLike | Sequence[ImageLike]) -> Tensor:
        """Give feature vectors, shape (B, F), float32 on the CPU; (F,) for a single image.

        Raises:
            OSError, ait_lite.images.decode.ImageError: As `predict`.
        """
        several = [images] if isinstance(images, ImageLike) else list(images)
        if not several:
            return torch.empty(0, self.model.num_features)
        parts = [embed(self.model, self.pixels(part)).cpu() for part in _parts(several, self.batch_size)]
        return parts[0][0] if isinstance(images, ImageLike) else torch.cat(parts)

    def explain(self, image: ImageLike, label: str | int | None = None, priors: int = 3) -> Explanation:
        """Explain the answer to one image, as `ait.explain` does.

        Args:
            image: Path, bytes of a file or PIL image.
            label: Name or index of the class to explain; None is the most probable one.
            priors: Recalled priors to tell of each patch.

        Raises:
            ValueError: There is no such class.
            OSError, ait_lite.images.decode.ImageError: As `predict`.
        """
        index = self.labels.index(label) if isinstance(label, str) else label
        return explain(self.model, self.pixels([image]), index, priors)

    def pixels(self, images: Sequence[ImageLike]) -> Tensor:
        """Prepare images for the model: normalised pixels (B, C, H, W) on its device.

        Raises:
            OSError, ait_lite.images.decode.ImageError: As `predict`.
        """
        return self.normalise([self.crop(image) for image in images])

    def crop(self, image: ImageLike) -> Tensor:
        """Decode an image and bring it to the input size: uint8 (C, H, W) on the CPU. Safe on any thread.

        Raises:
            OSError, ait_lite.images.decode.ImageError: As `predict`.
        """
        return torch.from_numpy(self._crop(_open(image)))

    def normalise(self, cropped: Sequence[Tensor]) -> Tensor:
        """Join images that `crop` made into a batch: float32 (B, C, H, W) on the model's device."""
        batch = torch.stack(list(cropped)).to(self.device, torch.float32)
        return batch.div_(255).sub_(self._mean).div_(self._std)

    def bytes_of(self, pixels: Tensor) -> Tensor:
        """Turn what `pixels` gave back into images to look at: (B, C, H, W) uint8 on the CPU."""
        return (pixels * self._std + self._mean).mul(255).round().clamp(0, 255).to(torch.uint8).cpu()

    def __repr__(self) -> str:
        """Name architecture, classes and input size."""
        size = " x ".join(map(str, self._crop.input_size))
        return f"Classifier({type(self.model).__name__}, {len(self.labels)} classes, {size})"


def _open(image: ImageLike) -> Image.Image:
    if isinstance(image, Image.Image):
        return upright_rgb(image)
    if isinstance(image, bytes):
        return decode_file(image)
    return read_image(Path(image))


def _parts(images: Sequence[ImageLike], size: int) -> list[Sequence[ImageLike]]:
    return [images[start : start + size] for start in range(0, len(images), size)]
