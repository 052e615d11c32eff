"""A folder of models, and models started from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from service.model_process.launcher import Launcher
from service.models.registry import Models
from service.settings import Settings
from tests.support.models.served_models import Witness, publish
from tests.support.processes.waiting import CEILING


@pytest.fixture
def root(tmp_path: Path, model_folder: Path) -> Path:
    """A folder of models with one in it."""
    publish(model_folder, tmp_path / "root", "colours", 1)
    return tmp_path / "root"


@pytest.fixture
def served(
    loop: asyncio.Runner, launcher: Launcher, root: Path
) -> Callable[..., Callable[[Callable[[Models, Witness], Awaitable[None]]], None]]:
    """Runs a test with models that have been started, and ends them after it."""

    def with_settings(**changes: Any) -> Callable[[Callable[[Models, Witness], Awaitable[None]]], None]:
        options: dict[str, Any] = {"models": str(root), "torch_threads": 1, "reload_seconds": 0.05, "max_batch": 4}

        def run(test: Callable[[Models, Witness], Awaitable[None]]) -> None:
            async def whole() -> None:
                witness = Witness()
                models = Models(Settings(_env_file=None, **(options | changes)), witness, launcher)
                await models.start()
                try:
                    async with asyncio.timeout(2 * CEILING):
                        await test(models, witness)
                finally:
                    await models.close()

            loop.run(whole())

        return run

    return with_settings
