"""Run a model on a whole set of images: the one code path for validation and evaluation."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.data.preprocessing import Preprocessing

# Fixed, so that the accuracy reported in training and that of a later evaluation come from the same products.
EVALUATION_BATCH = 250
# Of large images fewer go through the model at a time, so that what it holds in between stays within a few hundred MB.
_PIXELS = EVALUATION_BATCH * 64 * 64


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    preprocessing: Preprocessing,
    device: torch.device,
    flip: bool = False,
) -> Iterator[Tensor]:
    """Yield the logits of every image in order, batch after batch; the last batch may be smaller.

    The model is put into evaluation mode and left so.

    Args:
        model: A classifier, on `device`.
        images: (N, C, H, W) uint8, on any device; or batches of them.
        preprocessing: How to normalise.
        device: Where to compute.
        flip: Answer with the mean of the probabilities of each image and of its mirror image (left to right), as
            their logarithms.

    Yields:
        (B, classes) float32 on `device`.
    """
    model.eval()
    rows = evaluation_rows(preprocessing)
    batches = torch.split(images, EVALUATION_BATCH) if isinstance(images, Tensor) else images
    for part in (part for images in batches for part in torch.split(images, rows)):
        batch = preprocessing.normalise(part.to(device))
        logits = model(batch).float()
        if flip:
            mirrored = model(batch.flip(-1)).float()
            # log((p + q) / 2), which stays finite where p and q underflow.
            logits = torch.logaddexp(logits.log_softmax(dim=1), mirrored.log_softmax(dim=1)) - math.log(2)
        yield logits


def evaluation_rows(preprocessing: Preprocessing) -> int:
    """Return how many images go through a model at a time."""
    _, height, width = preprocessing.input_size
    return min(EVALUATION_BATCH, max(1, _PIXELS // (height * width)))


def predict_all(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    preprocessing: Preprocessing,
    device: torch.device,
    flip: bool = False,
) -> Tensor:
    """Collect what `predict` yields, of the same arguments, on the CPU: (N, classes) float32."""
    return torch.cat([logits.cpu() for logits in predict(model, images, preprocessing, device, flip)])


def shard(count: int, index: int, shards: int) -> Tensor:
    """List the images that one of several processes scores.

    Whole batches are dealt out in turn, so that every image is scored once, in the same batch as alone.

    Args:
        count: Images of all processes.
        index: Of this process.
        shards: Processes.

    Returns:
        Positions, (n,) int64.
    """
    batches = torch.split(torch.arange(count), EVALUATION_BATCH)
    return torch.cat([batches[0][:0], *batches[index::shards]])


@torch.inference_mode()
def score(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    labels: Tensor,
    preprocessing: Preprocessing,
    device: torch.device,
) -> Tensor:
    """Sum the cross-entropy and the correct answers of every image.

    Args:
        model: A classifier, on `device`; left in evaluation mode.
        images: (N, C, H, W) uint8, or batches of them.
        labels: (N,) int64.
        preprocessing: How to normalise.
        device: Where to compute.

    Returns:
        The two sums, (2,) float64 on `device`.
    """
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    done = 0
    for logits in predict(model, images, preprocessing, device):
        target = labels[done : done + len(logits)].to(device)
        cross_entropy = F.cross_entropy(logits, target, reduction="sum")
        correct = (logits.argmax(dim=1) == target).sum()
        sums += torch.stack([cross_entropy.double(), correct.double()])
        done += len(logits)
    return sums
