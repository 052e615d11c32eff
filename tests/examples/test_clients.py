"""The clients of `examples/` classify images through a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes.examples import run_example
from tests.support.servers.running_server import running_server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve the bundled model."""
    with running_server(AIT_TORCH_THREADS="1") as (address, _):
        yield address


def test_python_client(url: str, photos: Path) -> None:
    images = [photos / "cat" / "0.png", photos / "dog" / "1.png"]
    lines = run_example("examples/client.py", "--url", url, "--top-k", 2, *images).splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(image) for image in images]
    assert all(line.count("%") == 2 for line in lines)


def test_the_python_client_tells_why_an_image_was_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "note.jpg").write_text("not an image")
    for address, told in ((url, "JPEG, PNG or WebP"), ("http://127.0.0.1:9", "refused")):
        with pytest.raises(AssertionError) as error:
            run_example("examples/client.py", "--url", address, tmp_path / "note.jpg")
        assert str(error.value).startswith(f"{tmp_path / 'note.jpg'}: ")
        assert told in str(error.value)


def test_javascript_client(url: str, photos: Path) -> None:
    images = [photos / "cat" / "0.png", photos / "dog" / "1.png"]
    lines = run_example("node", "examples/client.mjs", url, *images).splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(image) for image in images]
    assert all(line.count("%") == 5 for line in lines)
