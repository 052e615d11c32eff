"""Models come, change and go with their files, and no request is dropped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from service.models.registry import Models
from service.models.served_model import ServedModel
from service.repository.folders import ModelFolder
from tests.support.models.served_models import (
    Witness,
    ask,
    asked_all_the_time,
    look,
    publish,
    refused,
    same,
)
from tests.support.processes.waiting import until


@pytest.mark.parametrize("version", [1, 2])
def test_new_files_without_dropping_a_request(
    served: Any, root: Path, model_folder: Path, other_folder: Path, version: int
) -> None:
    (root / "colours" / "serving.json").write_text('{"versions": 1}')

    @served()
    async def _(models: Models, witness: Witness) -> None:
        old = models.get()
        with asked_all_the_time(models) as answers:
            await until(lambda: len(answers) > 10)
            publish(other_folder, root, "colours", version)
            await until(lambda: models.get() is not old)
            await until(lambda: old.pid is None)  # no more process than models
            count = len(answers)
            await until(lambda: len(answers) > count + 10)
        assert same(answers[0], model_folder)
        assert same(answers[-1], other_folder)
        assert all(same(answer, model_folder) or same(answer, other_folder) for answer in answers)
        assert models.versions("colours") == [str(version)]
        assert [each.state for each in models.index() if each.version == str(version)] == ["ready"]


@pytest.mark.parametrize("damage", ["torn", "config", "missing", "serving"])
def test_a_damaged_version_takes_nothing_down(served: Any, root: Path, model_folder: Path, damage: str) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        with asked_all_the_time(models):
            path = root / "colours" / "2"
            shutil.copytree(model_folder, root / ".copy")
            if damage == "torn":
                weights = root / ".copy" / "model.safetensors"
                weights.write_bytes(weights.read_bytes()[:5000])
            elif damage == "config":
                (root / ".copy" / "config.json").write_text("{")
            elif damage == "missing":
                (root / ".copy" / "model.safetensors").unlink()
            else:
                (root / ".copy" / "serving.json").write_text('{"max_batch": "many"}')
            (root / ".copy").rename(path)
            await until(lambda: "colours/2" in models.index()[-1].reason)
            good, bad = models.index()
            assert (good.state, bad.state) == ("ready", "unavailable")
            assert str(root) not in bad.reason
            assert models.get().folder.version == "1"
            failures = len([told for told in witness.told if told[:2] == ("loaded", "colours/2")])
            assert failures <= 1  # tried once for these files, or not even that
            shutil.rmtree(path)
            publish(model_folder, root, "colours", 2)
            await until(lambda: models.get().folder.version == "2")
            assert not any(each.reason for each in models.index())


def test_damage_in_place_keeps_what_is_in_memory(served: Any, root: Path, model_folder: Path) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        weights = root / "colours" / "1" / "model.safetensors"
        data = weights.read_bytes()
        weights.write_bytes(data[:3000])
        await until(lambda: models.index()[0].reason != "")
        assert models.get() is model
        assert models.index()[0].state == "ready"
        assert same((await ask(model))[0], model_folder)
        weights.write_bytes(data)
        await until(lambda: models.index()[0].reason == "" and models.get() is not model)


def test_files_on_their_way_are_waited_for(served: Any, root: Path, other_folder: Path) -> None:
    @served(reload_seconds=0)
    async def _(models: Models, witness: Witness) -> None:
        path = root / "colours" / "2"
        path.mkdir()
        data = (other_folder / "model.safetensors").read_bytes()
        shutil.copy(other_folder / "config.json", path)
        await look(models)
        with (path / "model.safetensors").open("wb") as file:
            for start in range(0, len(data), len(data) // 12):
                file.write(data[start : start + len(data) // 12])
                file.flush()
                await look(models)  # it has changed since the last one
                assert models.versions("colours") == ["1"]
        await look(models)
        assert models.get().folder.version == "2"
        assert same((await ask(models.get()))[0], other_folder)
        assert ("loaded", "colours/2", False) not in witness.told


def test_what_is_removed_while_it_is_loaded_leaves_no_process(
    served: Any, root: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(model_folder, root, "passing", 1)
    load = ServedModel.load

    async def load_and_remove(folder: ModelFolder, *arguments: Any) -> ServedModel:
        model = await load(folder, *arguments)
        if folder.name == "passing":
            shutil.rmtree(folder.path)
        return model

    monkeypatch.setattr(ServedModel, "load", load_and_remove)

    @served(reload_seconds=0)
    async def _(models: Models, witness: Witness) -> None:
        assert models.versions("passing") == []
        assert ("ended", "passing/1", True) in witness.told


def test_what_is_removed_is_unloaded(served: Any, root: Path, model_folder: Path) -> None:
    publish(model_folder, root, "passing", 1)

    @served(model="colours")
    async def _(models: Models, witness: Witness) -> None:
        with models.use("passing") as model:
            shutil.rmtree(root / "passing")
            await until(lambda: not models.versions("passing"))
            with refused(404, "no model 'passing'"):
                models.get("passing")
            await ask(model)  # it was there when the request came
            assert ("passing", "1", "unloading") in [(each.name, each.version, each.state) for each in models.index()]
        await until(lambda: {each.name for each in models.index()} == {"colours"})
        assert model.pid is None
        root.rename(root.parent / "unmounted")
        with pytest.raises(FileNotFoundError):
            await look(models)
        await ask(models.get())  # a folder that cannot be read is no reason to stop
