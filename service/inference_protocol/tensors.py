"""Convert tensors between JSON or little-endian bytes and NumPy arrays, for every datatype of the protocol."""

from __future__ import annotations

import struct
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from service.inference_protocol.errors import ProtocolError, quoted

FIXED = {
    "BOOL": np.dtype("?"),
    **{
        f"{sign}INT{bits}": np.dtype(f"<{sign.lower() or 'i'}{bits // 8}")
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
DATATYPES = (*FIXED, "BF16", "BYTES")

_BINARY_ONLY = ("FP16", "BF16")  # the protocol gives them no JSON form
_LENGTH = struct.Struct("<I")


def item_size(datatype: str) -> int | None:
    """Get the bytes of an element; None for BYTES, whose elements differ."""
    if datatype == "BYTES":
        return None
    return 2 if datatype == "BF16" else FIXED[datatype].itemsize


def from_binary(datatype: str, shape: tuple[int, ...], data: memoryview, place: str) -> np.ndarray:
    """Make an array of bytes: a read-only view where NumPy has the datatype.

    Args:
        datatype: One of `DATATYPES`. BF16 becomes float32; BYTES an object array of bytes.
        shape: Of the tensor.
        data: Exactly the tensor's bytes.
        place: What to call the tensor in messages.

    Raises:
        ProtocolError: The bytes are not those of such a tensor.
    """
    if datatype == "BYTES":
        return _objects(_split(data, prod(shape), place), shape, place)
    expected = prod(shape) * (item_size(datatype) or 0)
    if len(data) != expected:
        raise ProtocolError(
            f"{place} has {len(data)} bytes of binary data; {datatype} of shape {_dims(shape)} takes {expected}. "
            "Correct shape, datatype or binary_data_size."
        )
    if datatype == "BF16":
        halves = np.frombuffer(data, np.dtype("<u2"))
        return _shaped((halves.astype(np.uint32) << 16).view(np.float32), shape, place)
    if datatype == "BOOL" and expected and np.frombuffer(data, np.uint8).max() > 1:
        raise ProtocolError(f"{place} is BOOL and has bytes other than 0 and 1. Send one such byte an element.")
    return _shaped(np.frombuffer(data, FIXED[datatype]), shape, place)


def from_json(datatype: str, shape: tuple[int, ...], data: Any, place: str) -> np.ndarray:
    """Make an array of a JSON list, which is flat in row-major order or nested as the shape.

    Args:
        datatype: As for `from_binary`.
        shape: As for `from_binary`.
        data: The list; strings become the bytes of their UTF-8.
        place: As for `from_binary`.

    Raises:
        ProtocolError: The list has another shape, or elements that the datatype does not hold.
    """
    if datatype in _BINARY_ONLY:
        raise ProtocolError(f"{place} is {datatype}, which has no JSON form. Send it as binary data.")
    flat = _flatten(data, shape, place)
    if datatype == "BYTES":
        _check_types(flat, {str}, "strings", place)
        return _objects([element.encode() for element in flat], shape, place)
    dtype = FIXED[datatype]
    if dtype.kind == "b":
        _check_types(flat, {bool}, "true or false", place)
    elif dtype.kind == "f":
        _check_types(flat, {int, float}, "numbers", place)
    else:
        _check_types(flat, {int}, "integers", place)
    if (array := _numbers(dtype, flat)) is None:
        raise ProtocolError(f"{place} has a number that {datatype} does not hold. Send others, or another datatype.")
    return _shaped(array, shape, place)


def to_binary(datatype: str, array: np.ndarray) -> bytes:
    """Write the tensor's bytes; `array` has the datatype's dtype, or objects that are bytes."""
    if datatype == "BYTES":
        return b"".join(part for element in array.flat for part in (_LENGTH.pack(len(element)), element))
    return array.astype(FIXED[datatype], copy=False).tobytes()


def to_json(datatype: str, array: np.ndarray, place: str) -> list[Any]:
    """List the tensor's elements in row-major order.

    Raises:
        ProtocolError: JSON cannot say them.
    """
    if datatype == "BYTES":
        try:
            return [element.decode() for element in array.flat]
        except UnicodeDecodeError as error:
            raise ProtocolError(f"{place} has bytes that are not UTF-8. Ask for it as binary data.") from error
    if datatype in _BINARY_ONLY or not np.isfinite(array).all():
        raise ProtocolError(f"{place} has values that JSON cannot say. Ask for it as binary data.")
    return array.ravel().tolist()


def _split(data: memoryview, count: int, place: str) -> list[bytes]:
    """Split a BYTES tensor into its elements, each a length and as many bytes."""
    elements, start = [], 0
    for index in range(count):
        begin = start + _LENGTH.size
        end = begin + (_LENGTH.unpack_from(data, start)[0] if begin <= len(data) else 0)
        if max(begin, end) > len(data):
            raise ProtocolError(
                f"{place} ends within element {index} of {count}. Each element is its length, a little-endian "
                "32-bit integer, and then its bytes."
            )
        elements.append(bytes(data[begin:end]))
        start = end
    if start != len(data):
        raise ProtocolError(
            f"{place} has {len(data) - start} bytes after the {count} elements of its shape. Correct the shape, or "
            "leave them out."
        )
    return elements


def _flatten(data: Any, shape: tuple[int, ...], place: str) -> list[Any]:
    count = prod(shape)
    if not isinstance(data, list):
        raise ProtocolError(f"{place} has data that is not a list. Send its elements as a list.")
    if not (shape and data and isinstance(data[0], list)):
        if len(data) != count:
            raise ProtocolError(
                f"{place} has {len(data)} elements; its shape {_dims(shape)} takes {count}. Correct either."
            )
        return data
    level: list[Any] = [data]
    for size in shape:
        if any(type(each) is not list or len(each) != size for each in level):
            raise ProtocolError(
                f"{place} has lists that are not nested as its shape {_dims(shape)}. Nest them so, or flatten them."
            )
        level = list(chain.from_iterable(level))
    return level


def _check_types(flat: list[Any], allowed: set[type], called: str, place: str) -> None:
    if not set(map(type, flat)) <= allowed:
        index, wrong = next((index, each) for index, each in enumerate(flat) if type(each) not in allowed)
        raise ProtocolError(f"{place} has {quoted(wrong)} at place {index} of its data. Send {called} only.")


def _numbers(dtype: np.dtype, flat: list[Any]) -> np.ndarray | None:
    """Make an array of numbers; None if the datatype does not hold one of them."""
    if dtype.kind in "iu" and flat and (min(flat) < np.iinfo(dtype).min or max(flat) > np.iinfo(dtype).max):
        return None
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype)
    except OverflowError:  # an integer larger than every float
        return None
    return None if dtype.kind == "f" and not np.isfinite(array).all() else array


def _objects(elements: list[bytes], shape: tuple[int, ...], place: str) -> np.ndarray:
    array = np.empty(len(elements), object)
    array[:] = elements
    return _shaped(array, shape, place)


def _shaped(array: np.ndarray, shape: tuple[int, ...], place: str) -> np.ndarray:
    try:
        return array.reshape(shape)
    except ValueError as error:  # an empty tensor whose other dimensions are beyond what numpy counts
        raise ProtocolError(
            f"{place} has the shape {_dims(shape)}, which is too large. Send a smaller one."
        ) from error


def _dims(shape: tuple[int, ...]) -> str:
    return quoted(list(shape))
