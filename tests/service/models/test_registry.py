"""Which models and versions answer."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from service.models.registry import Models, ModelStatus
from tests.support.models.served_models import (
    Witness,
    ask,
    expected,
    publish,
    refused,
)
from tests.support.processes.waiting import until


def test_names_and_versions(served: Any, root: Path, model_folder: Path, other_folder: Path) -> None:
    for name, version in (("colours", 9), ("colours", 10), ("another", 3)):
        publish(other_folder, root, name, version)
    (root / ".hidden" / "1").mkdir(parents=True)
    (root / "notes.txt").touch()

    @served(model="colours")
    async def _(models: Models, witness: Witness) -> None:
        assert models.default == "colours"
        assert models.versions("colours") == ["1", "9", "10"]
        assert models.get("colours").folder.version == "10"
        assert models.index() == [
            ModelStatus("another", "3", "ready"),
            ModelStatus("colours", "1", "ready"),
            ModelStatus("colours", "9", "ready"),
            ModelStatus("colours", "10", "ready"),
        ]
        np.testing.assert_allclose(await ask(models.get("colours", "1")), expected(model_folder), atol=1e-4)
        np.testing.assert_allclose(await ask(models.get()), expected(other_folder), atol=1e-4)
        with refused(404, "There is: another, colours"):
            models.get("none")
        with refused(404, "It has: 1, 9, 10"):
            models.get("colours", "2")
        # Each in a process of its own.
        pids = {models.get("colours", version).pid for version in models.versions("colours")}
        assert len(pids) == 3
        assert os.getpid() not in pids


def test_settings_of_a_model(served: Any, root: Path, model_folder: Path) -> None:
    publish(model_folder, root, "colours", 2)
    broken = publish(model_folder, root, "broken", 1)
    (root / "colours" / "serving.json").write_text(json.dumps({"versions": 1, "max_batch": 2, "max_queue": 3}))
    (broken / "serving.json").write_text('{"max_batch": 0, "batch": 1}')

    @served(max_batch=4)
    async def _(models: Models, witness: Witness) -> None:
        assert models.versions("colours") == ["2"]
        assert models.get("colours").max_batch == 2
        assert (await ask(models.get("colours"), 3)).shape == (3, 3)
        with refused(413, "4 items, and the queue takes 3"):
            await ask(models.get("colours"), 4)
        with refused(503, "Version 1 of model colours is not loaded"):
            models.get("colours", "1")
        (reason,) = [each.reason for each in models.index() if each.name == "broken"]
        assert reason.startswith("broken/1/serving.json: ")
        for part in ("max_batch: ", "batch: ", "It may set max_batch"):
            assert part in reason


def test_no_more_models_than_allowed(served: Any, root: Path, model_folder: Path) -> None:
    publish(model_folder, root, "colours", 2)
    publish(model_folder, root, "zebra", 1)

    @served(max_models=2)
    async def _(models: Models, witness: Witness) -> None:
        states = {(each.name, each.version): each for each in models.index()}
        assert states["colours", "2"].state == states["zebra", "1"].state == "ready"
        assert states["colours", "1"].state == "unavailable"
        assert "AIT_MAX_MODELS=2" in states["colours", "1"].reason
        shutil.rmtree(root / "zebra")  # makes room
        await until(lambda: models.versions("colours") == ["1", "2"])
        assert not models.versions("zebra")


def test_loading_and_unloading_by_name(served: Any, root: Path, model_folder: Path) -> None:
    @served(reload_seconds=0)
    async def _(models: Models, witness: Witness) -> None:
        with models.use("colours") as model:
            await models.unload("colours")
            with refused(404):
                models.get("colours")
            with refused(503):
                models.get()
            with refused(404):
                await models.unload("colours")
            await ask(model)
        assert not models.ready
        await models.load("colours")
        assert models.ready
        await ask(models.get())
        with refused(404):
            await models.load("later")
        torn = publish(model_folder, root, "later", 1) / "model.safetensors"
        data = torn.read_bytes()
        torn.write_bytes(data[:100])
        with refused(503, "later/1"):
            await models.load("later")
        torn.write_bytes(data)
        await models.load("later")
        await ask(models.get("later"))
        assert models.default == "colours"


def test_no_model_at_all(served: Any, root: Path, model_folder: Path) -> None:
    shutil.rmtree(root / "colours")

    @served()
    async def _(models: Models, witness: Witness) -> None:
        assert models.failure is None
        assert not models.ready
        with refused(503):
            models.get()
        publish(model_folder, root, "colours", 1)
        await until(lambda: models.ready)
        await ask(models.get())


def test_a_folder_that_is_not_there(served: Any) -> None:
    @served(models="/no/such/folder")
    async def _(models: Models, witness: Witness) -> None:
        assert "AIT_MODELS=/no/such/folder is not a folder" in str(models.failure)
