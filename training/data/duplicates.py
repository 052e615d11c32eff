"""Copies of validation images among the training images, which make a validation look better than it is.

Every image has a signature, made when it is decoded: a digest of its file, which tells exact copies, and a
thumbnail, which tells images that were saved anew, rescaled or brightened.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_DIGEST = 16  # bytes
_SIDE = 8  # pixels of the thumbnail
SIGNATURE_BYTES = _DIGEST + 3 * _SIDE * _SIDE

_SAME = 0.998  # correlation of two thumbnails of the same scene
_FLAT = 4.0  # levels; a thumbnail that varies less shows nothing to compare
_COMPARISONS = 10**9  # of thumbnails: seconds
_CHUNK = 4096


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Attributes:
        exact: Positions of validation images whose file is also a training image.
        near: Positions of others whose thumbnail is that of a training image.
        partners: For each of both, in turn, the position of that training image.
        compared: How many validation images were looked at for near copies.
    """

    exact: tuple[int, ...]
    near: tuple[int, ...]
    partners: tuple[int, ...]
    compared: int


def signature(data: bytes, image: Image.Image) -> np.ndarray:
    """Make the signature of one image.

    Args:
        data: Its file, or its pixels where it has none.
        image: The same, decoded, in mode RGB.

    Returns:
        (SIGNATURE_BYTES,) uint8.
    """
    digest = hashlib.blake2b(data, digest_size=_DIGEST).digest()
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.frombuffer(digest + small.tobytes(), dtype=np.uint8)


def signatures_of(pixels: Tensor) -> Tensor:
    """Make the signatures of images in memory, (N, C, H, W) uint8 of 1 or 3 channels: (N, SIGNATURE_BYTES) uint8."""
    made = torch.empty(len(pixels), SIGNATURE_BYTES, dtype=torch.uint8)
    for start in range(0, len(pixels), _CHUNK):
        part = pixels[start : start + _CHUNK].contiguous()
        digests = b"".join(hashlib.blake2b(each.data, digest_size=_DIGEST).digest() for each in part.numpy())
        rows = made[start : start + _CHUNK]
        rows[:, :_DIGEST] = torch.frombuffer(bytearray(digests), dtype=torch.uint8).view(len(part), _DIGEST)
        small = F.adaptive_avg_pool2d(part.float(), _SIDE).round().to(torch.uint8)  # (B, C, side, side)
        rows[:, _DIGEST:] = small.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).flatten(1)
    return made


def find_duplicates(training: Tensor, validation: Tensor) -> Duplicates:
    """Find validation images that are also training images.

    The search for near copies takes seconds at most: of many images, an even selection of the validation's.

    Args:
        training: (N, SIGNATURE_BYTES) uint8.
        validation: (M, SIGNATURE_BYTES) uint8.
    """
    where = {bytes(row): index for index, row in enumerate(training[:, :_DIGEST].numpy())}
    exact = {
        index: where[bytes(row)] for index, row in enumerate(validation[:, :_DIGEST].numpy()) if bytes(row) in where
    }
    others = [index for index in range(len(validation)) if index not in exact]
    most = max(1, _COMPARISONS // max(1, len(training)))
    looked_at = others[:: -(-len(others) // most)] if others else []
    near = _alike(training, validation, looked_at)
    partners = (*exact.values(), *near.values())
    return Duplicates(tuple(exact), tuple(near), partners, len(looked_at) + len(exact))


def describe_duplicates(
    found: Duplicates, training_names: Sequence[str], validation_names: Sequence[str], shown: int = 3
) -> str | None:
    """Say in one line what was found, and what it means; None where nothing was."""
    if not found.exact and not found.near:
        return None
    positions = (*found.exact, *found.near)
    pairs = ", ".join(
        f"{validation_names[index]} = {training_names[partner]}"
        for index, partner in list(zip(positions, found.partners, strict=True))[:shown]
    )
    more = ", …" if len(positions) > shown else ""
    sampled = "" if found.compared == len(validation_names) else f" (of {found.compared} looked at)"
    return (
        f"{len(found.exact)} of {len(validation_names)} validation images are training images too, and "
        f"{len(found.near)} more nearly so{sampled}: the validation accuracy will look better than it is "
        f"({pairs}{more})"
    )


def _alike(training: Tensor, validation: Tensor, chosen: Sequence[int]) -> dict[int, int]:
    """For those of the chosen validation images that have a near copy, where it is among the training images."""
    if not chosen or not len(training):
        return {}
    known, clear = standardised(training)
    asked, visible = standardised(validation[torch.tensor(chosen)])
    best = torch.full((len(chosen),), -1.0)
    place = torch.zeros(len(chosen), dtype=torch.int64)
    for start in range(0, len(training), _CHUNK):
        alike = asked @ known[start : start + _CHUNK].T  # (chosen, chunk), correlations
        alike[:, ~clear[start : start + _CHUNK]] = -1
        value, column = alike.max(1)
        better = value > best
        best[better], place[better] = value[better], column[better] + start
    hits = torch.nonzero((best >= _SAME) & visible).flatten().tolist()
    return {chosen[row]: int(place[row]) for row in hits}


def digests(signatures: Tensor) -> list[bytes]:
    """List the digest of each image's file, of signatures (N, SIGNATURE_BYTES) uint8."""
    return [bytes(row) for row in signatures[:, :_DIGEST].numpy()]


def standardised(signatures: Tensor) -> tuple[Tensor, Tensor]:
    """Bring thumbnails to mean 0 and length 1, so that the product of two is their correlation.

    Args:
        signatures: (N, SIGNATURE_BYTES) uint8.

    Returns:
        (N, 192) float32; and which vary enough to be compared, (N,) bool.
    """
    thumbnails = signatures[:, _DIGEST:].float()
    centred = thumbnails - thumbnails.mean(1, keepdim=True)
    return F.normalize(centred, dim=1), centred.pow(2).mean(1).sqrt() >= _FLAT
