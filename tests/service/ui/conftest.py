"""A browser on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.page.browsing import Visit, visits
from tests.support.page.chromium import REMEDY, find_chromium
from tests.support.page.ui_models import NAME, make_models
from tests.support.servers.running_server import running_server


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[str]:
    """A real server with the bundled model, models without a memory, and a broken one."""
    root = tmp_path_factory.mktemp("repository")
    make_models(root, model_folder)
    settings = {"AIT_MODELS": str(root), "AIT_MODEL": NAME, "AIT_TORCH_THREADS": "1", "AIT_MAX_BODY_BYTES": "1000000"}
    with running_server(**settings) as (address, _):
        yield address


# Of a module, not of the session: Playwright keeps an event loop running, beside which other tests cannot run theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    assert chromium, f"No Chromium was found, and this run demands it. {REMEDY}"
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=camera)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Callable[..., Visit]]:
    """Opens the page as somebody does."""
    with visits(browser, url) as opened:
        yield opened


@pytest.fixture(scope="module")
def teach_url(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[str]:
    """A real server with an empty store of memories."""
    store = tmp_path_factory.mktemp("store") / "memories.sqlite3"
    with running_server(AIT_MODEL=str(model_folder), AIT_MEMORIES=str(store), AIT_TORCH_THREADS="1") as (address, _):
        yield address


@pytest.fixture
def open_page(browser: Browser, teach_url: str) -> Iterator[Callable[..., Visit]]:
    """Opens the page of memories as somebody does."""
    with visits(browser, teach_url) as opened:
        yield partial(opened, "/teach")
