from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from fastapi.testclient import TestClient

from ait.export import export_serving
from ait.pretrained import load_model
from service.app import create_app
from service.model_process.launcher import Launcher
from service.settings import Settings
from tests.support.models.prepared_models import write_prepared_classifier
from tests.support.processes.waiting import CEILING
from tests.support.servers.service_client import LABELS, wait_until_ready


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOST", "PORT", *(f"AIT_{name.upper()}" for name in Settings.model_fields)):
            patch.delenv(name, raising=False)
        # Preparing a graph of every small model would take longer than all tests; those of runtimes ask for them.
        patch.setenv("AIT_RUNTIME", "torch")
        patch.setenv("AIT_ALLOWED_HOSTS", "testserver")  # what TestClient calls an application
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))  # where memories are without a setting
        yield


def _classifier(path: Path, seed: int) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = timm.create_model("test_vit", num_classes=3, img_size=32)
        # Untrained heads answer every image alike, which would hide mistakes.
        torch.nn.init.normal_(model.head.weight, std=0.5)
    timm.models.save_for_hf(
        model,
        path,
        model_config={"label_names": LABELS},
        data_config={"input_size": (3, 32, 32), "crop_pct": 1.0},
        safe_serialization=True,
    )
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained classifier of 32 x 32 pixels with three classes."""
    return _classifier(tmp_path_factory.mktemp("models") / "colours", seed=0)


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, which answers otherwise."""
    return _classifier(tmp_path_factory.mktemp("models") / "others", seed=1)


@pytest.fixture(scope="session")
def prepared_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small classifier with a graph in place of its weights; a test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("prepared") / "colours"
    export_serving(load_model(model_folder), model_folder, folder, int8=False)
    return folder


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the same size and labels that is a graph alone; its server starts without torch."""
    return write_prepared_classifier(tmp_path_factory.mktemp("graphs") / "colours", LABELS)


@pytest.fixture(scope="session")
def settings(model_folder: Path) -> Settings:
    return Settings(
        _env_file=None,
        model=str(model_folder),
        torch_threads=1,
        max_body_bytes=1_000_000,
        max_pixels=1_000_000,
        max_files=4,
        deadline_seconds=CEILING,
    )


@pytest.fixture(scope="session")
def graph_settings(settings: Settings, graph_folder: Path) -> Settings:
    """The same for a model that needs no torch."""
    return settings.model_copy(update={"model": str(graph_folder), "runtime": "onnxruntime"})


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for the tests that share processes."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def launcher(loop: asyncio.Runner) -> Iterator[Launcher]:
    """Starts model processes on that loop; its own start takes seconds."""
    launcher = Launcher()
    yield launcher

    async def close() -> None:
        launcher.close()

    loop.run(close())
