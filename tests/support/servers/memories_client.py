"""Memories over HTTP: a client that teaches, and images to teach."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from service.app import create_app
from service.settings import Settings
from tests.support.images.service_images import encode
from tests.support.servers.service_client import wait_until_ready

COLOURS = {"red": (220, 40, 30), "green": (40, 200, 50), "blue": (30, 60, 220)}


def coloured(label: str, number: int = 0) -> bytes:
    """A PNG in which a colour prevails, another one for each number."""
    rng = np.random.default_rng([number, *label.encode()])
    pixels = rng.integers(0, 60, (24, 24, 3)) + np.array(COLOURS[label]) * 0.75
    return encode(Image.fromarray(pixels.astype(np.uint8)))


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive of files by name, the same bytes at any time."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return data.getvalue()


@contextmanager
def serving(folder: Path, store: Path, **settings: Any) -> Iterator[TestClient]:
    """A client of a server that keeps its memories in a file."""
    made = Settings(
        _env_file=None,
        **{
            "model": str(folder),
            "memories": str(store),
            "torch_threads": 1,
            "max_body_bytes": 200_000,
            "max_teach_bytes": 1_000_000,
            "max_teach_files": 30,
            "max_files": 8,
            **settings,
        },
    )
    with TestClient(create_app(made), raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


def create(client: TestClient, name: str, **options: Any) -> dict[str, Any]:
    """Create a memory, which must be new."""
    response = client.put(f"/v1/memories/{name}", json=options)
    assert response.status_code == 201, response.text
    return dict(response.json())


def teach(client: TestClient, name: str, identifier: str, label: str, data: bytes, **options: Any) -> Response:
    """Teach one image."""
    params = {"label": label, **options.pop("params", {})}
    return client.put(f"/v1/memories/{name}/examples/{identifier}", params=params, content=data, **options)


def teach_colours(client: TestClient, name: str, each: int) -> dict[str, Any]:
    """Teach so many images of each colour in one archive; all must be taken."""
    files = {f"{label}/{number}.png": coloured(label, number) for label in COLOURS for number in range(each)}
    response = client.post(f"/v1/memories/{name}/examples", content=zipped(files))
    assert response.status_code == 200, response.text
    answer = dict(response.json())
    assert answer["refused"] == 0, answer
    return answer


def recall(client: TestClient, name: str, data: bytes, **options: Any) -> dict[str, Any]:
    """Ask about one image."""
    response = client.post(f"/v1/memories/{name}/recall", content=data, **options)
    assert response.status_code == 200, response.text
    return dict(response.json()["predictions"][0])
