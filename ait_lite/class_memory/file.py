"""The file of a memory: one safetensors file whose metadata holds a JSON description."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError, numpy

from ait_lite.class_memory.features import SCALE

FORMAT = "class-memory-1"


@dataclass(frozen=True)
class Contents:
    """What a file holds: the configuration, the examples by sorted id, and their nearest products.

    Attributes:
        configuration: Arguments of a memory, without the centre.
        centre: Shape (d,), or None.
        ids: n identifiers.
        labels: n labels.
        keys: Integer keys, shape (n, d).
        nearest: Largest product of each key with another, shape (n,).
        digest: Digest of the memory.
    """

    configuration: dict[str, Any]
    centre: np.ndarray | None
    ids: list[str]
    labels: list[str]
    keys: np.ndarray
    nearest: np.ndarray
    digest: str


def encode(contents: Contents) -> bytes:
    """Write contents as bytes; equal contents give equal bytes."""
    names = sorted(set(contents.labels))
    code = {name: index for index, name in enumerate(names)}
    tensors: dict[str, np.ndarray] = {
        "keys": contents.keys.astype(np.int16),
        "labels": np.array([code[label] for label in contents.labels], dtype=np.int32),
        "nearest": contents.nearest,
    }
    if contents.centre is not None:
        tensors["centre"] = contents.centre
    description = {
        "format": FORMAT,
        "configuration": contents.configuration,
        "label_names": names,
        "ids": contents.ids,
        "digest": contents.digest,
    }
    return numpy.save(tensors, {"memory": json.dumps(description, sort_keys=True)})


def read_header(data: bytes) -> dict[str, Any]:
    """Read the header of a sound safetensors file; that of a memory has its metadata under ``__metadata__``."""
    header: dict[str, Any] = json.loads(data[8 : _start(data)])
    return header


def body_of(data: bytes) -> memoryview:
    """Look up what stands behind the header of a safetensors file: the tensors."""
    return memoryview(data)[_start(data) :]


def write_header(data: bytes, header: dict[str, Any], more: bytes = b"") -> bytes:
    """Write a safetensors file anew with another header, and more bytes behind its tensors."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, body_of(data), more))


def _start(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def decode(data: bytes) -> Contents:
    """Read contents, which may come from anyone.

    Raises:
        ValueError: If the bytes are not a whole and consistent memory file.
    """
    try:
        tensors = numpy.load(data)
        description = json.loads(read_header(data)["__metadata__"]["memory"])
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']!r}")
        names, ids, digest = description["label_names"], description["ids"], description["digest"]
        configuration = description["configuration"]
        keys, codes, nearest = tensors["keys"], tensors["labels"], tensors["nearest"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"Not a memory file: {error}") from error
    kinds = {"dim": int, "readout": str, "random_features": int, "seed": int, "beta": float, "unknown_level": float}
    consistent = (
        isinstance(configuration, dict)
        and {name: type(value) for name, value in configuration.items()} == kinds
        and _strings(names)
        and _strings(ids)
        and len(set(ids)) == len(ids)
        and [str(part.dtype) for part in (keys, codes, nearest)] == ["int16", "int32", "float64"]
        and keys.ndim == 2
        and codes.shape == nearest.shape == (len(ids),) == keys.shape[:1]
        and ((codes >= 0) & (codes < len(names))).all()
        and (np.abs(np.linalg.norm(keys.astype(np.float64), axis=1) / SCALE - 1.0) < 0.01).all()
        and not np.isnan(nearest).any()
    )
    if not consistent:
        raise ValueError("Not a memory file: its parts do not fit together.")
    return Contents(
        configuration,
        tensors.get("centre"),
        ids,
        [names[code] for code in codes],
        keys.astype(np.float64),
        nearest,
        digest,
    )


def _strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) and value for value in values)
