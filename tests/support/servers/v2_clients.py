"""What clients that people use send to the models of a server, and what its answers are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, RESTConfig
from tritonclient.http import InferInput as TritonInput

from tests.support.images.service_images import FORMATS, encode, scene

T = TypeVar("T")

KEY = "correct horse battery staple"
MODEL = "colours"
IMAGES = [encode(scene(), format) for format in FORMATS]


def tensor(name: str, array: np.ndarray, binary: bool = True) -> TritonInput:
    """An input as tritonclient sends it."""
    datatype = "BYTES" if array.dtype == object else "FP32"
    return TritonInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def kserve_tensor(name: str, array: np.ndarray, binary: bool) -> InferInput:
    """An input as kserve's client sends it."""
    item = InferInput(name, list(array.shape), "BYTES" if array.dtype == object else "FP32")
    item.set_data_from_numpy(array, binary_data=binary)
    return item


def with_kserve(url: str, use: Callable[[InferenceRESTClient], Awaitable[T]]) -> T:
    """Use the client of kserve, and return what that returns."""

    async def run() -> T:
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            return await use(client)

    return asyncio.run(run())


def close(values: np.ndarray) -> Any:
    """What equals these values as far as two ways to compute them can agree."""
    return pytest.approx(values, abs=2e-5)
