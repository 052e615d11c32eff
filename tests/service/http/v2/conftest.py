"""A server process for the clients that people use, and what its model answers."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient

from service.model_process.classifier import Classifier
from service.model_process.mixed_batch import split
from service.repository.folders import locate
from tests.support.servers.running_server import running_server
from tests.support.servers.v2_clients import KEY, MODEL


@pytest.fixture(scope="package")
def url(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server of a folder of models: one to ask, one to unload, and a broken one."""
    root = tmp_path_factory.mktemp("repository")
    for name in (MODEL, "broken", "spare"):
        shutil.copytree(model_folder, root / name / "1")
    (root / "broken" / "1" / "model.safetensors").write_bytes(b"torn")
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    settings = {"AIT_MODELS": str(root), "AIT_MODEL": MODEL, "AIT_MEMORIES": str(root.with_name("m.sqlite3"))}
    with running_server(AIT_TORCH_THREADS="1", AIT_ADMIN_KEY_SHA256=hashed, **settings) as (url, _):
        yield url


@pytest.fixture(scope="package")
def triton(url: str) -> Iterator[InferenceServerClient]:
    """The blocking client of that server."""
    with InferenceServerClient(url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="package")
def pixels() -> np.ndarray:
    """Three prepared images."""
    return np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="package")
def logits(model_folder: Path, pixels: np.ndarray) -> np.ndarray:
    """What the model says of them, without a server."""
    classifier = Classifier(locate(model_folder))
    return classifier.logits(split(list(pixels)))
