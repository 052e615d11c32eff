"""Models that differ in what can be explained, and memories, served."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fastapi.testclient import TestClient

import ait.interpret.explain
from ait.interpret.embedding import embed_and_classify
from ait.interpret.exemplars import Exemplars, thumbnail
from ait.pretrained import load_model
from service.app import create_app
from service.settings import Settings
from tests.support.images.service_images import scene
from tests.support.models.explained_models import TEMPERATURE, save
from tests.support.servers.memories_client import serving
from tests.support.servers.service_client import wait_until_ready


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that differ in what can be explained."""
    root = tmp_path_factory.mktemp("repository")
    torch.manual_seed(0)
    args: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    model = timm.create_model("ait_tiny_patch4_32", num_classes=4, **args).eval()
    with torch.no_grad():
        model.head.weight.mul_(40)
    ours = save(model, root / "ait" / "1", model_args=args, temperature=TEMPERATURE)
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features, logits = embed_and_classify(model, images / 255)
    thumbnails = [thumbnail(image) for image in images]
    names = tuple(f"class/{index}.jpg" for index in range(12))
    labels = torch.arange(12) % 4
    data, sizes = tuple(data for data, _ in thumbnails), tuple(size for _, size in thumbnails)
    Exemplars(features, logits, labels, names, data, sizes).save(ours)
    # The same, but for exemplars that were made with other weights.
    torn = shutil.copytree(ours, root / "torn" / "1")
    with torch.no_grad():
        model.head.weight.mul_(2)
    save(model, torn, model_args=args)
    recalling = timm.create_model("ait_tiny_patch4_32", num_classes=4, head="associative", **args)
    save(recalling, root / "recalling" / "1", model_args={**args, "head": "associative"})
    vit = timm.create_model("test_vit", num_classes=4, img_size=32)
    torch.nn.init.normal_(vit.head.weight)
    save(vit, root / "vit" / "1")
    save(timm.create_model("test_resnet", num_classes=4), root / "conv" / "1")
    return root


@pytest.fixture(scope="package")
def explaining(repository: Path) -> Iterator[TestClient]:
    settings = Settings(_env_file=None, models=str(repository), model="ait", torch_threads=1, reload_seconds=0)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture(scope="package")
def expected(repository: Path) -> ait.interpret.explain.Explanation:
    """What the library says of the image, with nothing of the service."""
    model = load_model(repository / "ait" / "1")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    return ait.interpret.explain.explain(model, transform(scene(48, 32))[None])


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "memories.sqlite3"


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, other_folder: Path) -> Path:
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(model_folder, root / "colours" / "1")
    shutil.copytree(other_folder, root / "others" / "1")
    return root


@pytest.fixture(scope="package")
def teacher(store: Path, models: Path) -> Iterator[TestClient]:
    """A server with a store of memories, which all tests share: each names its own."""
    with serving(models / "colours" / "1", store, model="colours", models=str(models), reload_seconds=0) as client:
        yield client
