"""A folder of models behind real processes: what answers, and what becomes of it when files or processes change."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import ModelUnavailable, QueueFull, ServiceError
from service.http.problems import problem_of
from service.model_process.classifier import Classifier
from service.model_process.launcher import Launcher
from service.models.registry import Models, ModelStatus
from service.models.served_model import ServedModel
from service.observability.events import Observer
from service.repository.folders import locate
from service.settings import Settings
from tests.support.service_images import scene

PICTURE = scene(32, 32)


class Witness(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def batch(self, model: str, version: str, operation: str, size: int, waits: Any, seconds: float) -> None:
        assert len(waits) == size
        assert min(waits) >= 0
        assert seconds > 0
        self.told.append(("batch", operation, size))

    def rejected(self, model: str, version: str, reason: str) -> None:
        self.told.append(("rejected", reason))

    def loaded(self, model: str, version: str, seconds: float, error: str | None) -> None:
        self.told.append(("loaded", f"{model}/{version}", error is None))

    def ended(self, model: str, version: str, expected: bool) -> None:
        self.told.append(("ended", f"{model}/{version}", expected))


def publish(folder: Path, root: Path, name: str, version: int) -> Path:
    """Copies a model into a folder of models as people should: under another name, then renamed."""
    target = root / name / str(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.parent / f".{version}"
    shutil.copytree(folder, hidden)
    if target.exists():
        shutil.rmtree(target)
    return hidden.rename(target)


@cache
def expected(folder: Path) -> np.ndarray:
    """Logits of the picture, without a service."""
    classifier = Classifier(locate(folder))
    return classifier.logits(classifier.batch([classifier.prepare(PICTURE)])).numpy()


async def ask(model: ServedModel, count: int = 1, **options: Any) -> np.ndarray:
    return (await model.infer([model.prepare(PICTURE)] * count, **options)).outputs


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@contextmanager
def refused(status: int, words: str = ".") -> Iterator[None]:
    with pytest.raises(ServiceError, match=words) as caught:
        yield
    assert problem_of(caught.value).status == status


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
                    async with asyncio.timeout(120):
                        await test(models, witness)
                finally:
                    await models.close()

            loop.run(whole())

        return run

    return with_settings


# ---- what answers ----


def test_answers_are_those_of_the_model(served: Any, model_folder: Path) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        assert (model.folder.name, model.folder.version, model.input_size) == ("colours", "1", (3, 32, 32))
        np.testing.assert_allclose(await ask(model), expected(model_folder), rtol=1e-4, atol=1e-5)

        direct = Classifier(locate(model_folder))
        cropped = [model.prepare(scene(40 + side, 50)) for side in range(11)]
        batch = direct.batch(cropped)
        logits = direct.logits(batch).numpy()
        # Some as bytes, some normalised; more of them than a batch holds.
        mixed = [batch[place].numpy() if place % 3 else each for place, each in enumerate(cropped)]
        inference = await model.infer(mixed)
        assert inference.outputs.dtype == np.float32
        np.testing.assert_allclose(inference.outputs, logits, rtol=1e-4, atol=1e-4)
        assert inference.infer > 0
        assert inference.queue >= 0
        sizes = [told[2] for told in witness.told if told[0] == "batch"]
        assert sum(sizes) == 12
        assert max(sizes) <= 4

        features = (await model.infer(cropped, operation="features")).outputs
        assert features.shape == (11, model.num_features)
        np.testing.assert_allclose(features, direct.features(batch).numpy(), rtol=1e-4, atol=1e-4)
        head = direct.model.get_classifier()
        weights, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
        np.testing.assert_allclose(features @ weights.T + bias, logits, rtol=1e-3, atol=1e-3)

        explained = await model.explain(cropped[0])
        assert explained["class_index"] == logits[0].argmax()
        for wrong in (np.zeros((3, 32, 31), np.uint8), np.zeros((3, 32, 32), np.float64)):
            with pytest.raises(ValueError, match="An input is"):
                await model.infer([wrong])


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


# ---- overload, and processes that die ----


@contextmanager
def stopped(model: ServedModel) -> Iterator[None]:
    """Within this context the model's process does nothing, so that what is under way stays so."""
    assert model.pid
    os.kill(model.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if model.pid:
            os.kill(model.pid, signal.SIGCONT)


async def fill(model: ServedModel, waiting: int) -> tuple[list[asyncio.Task[Any]], asyncio.Task[Any]]:
    """Requests for two full batches, which are handed to the process, and one that waits behind them."""
    running = []
    for _ in range(2):
        running.append(asyncio.create_task(ask(model, model.max_batch)))
        await asyncio.sleep(0)  # it stands in the queue now
        await until(lambda: model.depth == 0)
    last = asyncio.create_task(ask(model, waiting))
    await until(lambda: model.depth == waiting)
    return running, last


def test_a_full_queue_and_a_deadline(served: Any) -> None:
    @served(max_queue=6)
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        now = asyncio.get_running_loop().time
        with stopped(model):
            running, last = await fill(model, 5)
            with pytest.raises(QueueFull) as caught:
                await ask(model, 2)
            assert caught.value.whole_seconds >= 1
            with refused(429):
                model.check_room(2)
            model.check_room(1)
            with refused(504):
                await ask(model, deadline=now() + 0.02)
            gone = asyncio.create_task(ask(model))
            await until(lambda: model.depth == 6)
            gone.cancel()
            await until(lambda: model.depth == 5)
        await asyncio.gather(*running, last)
        reasons = [told[1] for told in witness.told if told[0] == "rejected"]
        assert reasons == ["queue-full", "queue-full", "deadline", "cancelled"]
        assert sum(told[2] for told in witness.told if told[0] == "batch") == 13


def test_a_process_that_dies_is_restarted(served: Any, model_folder: Path) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        pid = model.pid
        with stopped(model):
            running, last = await fill(model, 1)
            os.kill(pid or 0, signal.SIGKILL)
            answers = await asyncio.gather(*running, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ModelUnavailable, ModelUnavailable]
        assert not models.ready
        with refused(503, "restarting"):
            models.get()
        assert models.index() == [ModelStatus("colours", "1", "restarting")]
        # What had not begun is answered by the next process.
        np.testing.assert_allclose(await last, expected(model_folder), atol=1e-4)
        assert models.ready
        assert models.get() is model
        assert model.pid not in (None, pid)
        changes = [told for told in witness.told if told[0] in ("loaded", "ended")]
        assert changes == [("loaded", "colours/1", True), ("ended", "colours/1", False), ("loaded", "colours/1", True)]


def test_a_process_that_cannot_be_restarted(served: Any, root: Path) -> None:
    @served(reload_seconds=0)
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        weights = root / "colours" / "1" / "model.safetensors"
        weights.rename(root / "elsewhere")
        os.kill(model.pid or 0, signal.SIGKILL)
        await until(lambda: not model.ready)
        with refused(503, "cannot be restarted"):
            await ask(model)
        (root / "elsewhere").rename(weights)
        await until(lambda: model.ready)
        await ask(model)


def test_a_process_that_hangs_is_restarted(served: Any) -> None:
    @served(stuck_seconds=0.3)
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        with stopped(model), refused(503, "did not answer"):
            await ask(model)
        await until(lambda: model.ready)
        await ask(model)


def test_processes_end_with_their_models(served: Any, model_folder: Path) -> None:
    pids = []

    @served()
    async def _(models: Models, witness: Witness) -> None:
        pids.append(models.get().pid)

    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


# ---- files that change ----


@contextmanager
def asked_all_the_time(models: Models) -> Iterator[list[np.ndarray]]:
    """Clients that ask without a pause while the files change; none of them may be turned away."""
    answers: list[np.ndarray] = []

    async def client() -> None:
        while True:
            with models.use() as model:
                await asyncio.sleep(0.005)  # its picture is on the way
                answers.append((await ask(model))[0])

    clients = [asyncio.create_task(client()) for _ in range(3)]
    try:
        yield answers
    finally:
        failures = [task.exception() for task in clients if task.done()]
        for task in clients:
            task.cancel()
        assert failures == []


def same(answer: np.ndarray, folder: Path) -> bool:
    return bool(np.allclose(answer, expected(folder)[0], atol=1e-3))


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
    @served()
    async def _(models: Models, witness: Witness) -> None:
        path = root / "colours" / "2"
        path.mkdir()
        data = (other_folder / "model.safetensors").read_bytes()
        shutil.copy(other_folder / "config.json", path)
        with (path / "model.safetensors").open("wb") as file:
            for start in range(0, len(data), len(data) // 12):
                file.write(data[start : start + len(data) // 12])
                file.flush()
                await asyncio.sleep(0.03)  # it changes from one look to the next
        await until(lambda: models.get().folder.version == "2")
        assert same((await ask(models.get()))[0], other_folder)
        assert ("loaded", "colours/2", False) not in witness.told


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
        await asyncio.sleep(0.2)
        await ask(models.get())  # a folder that cannot be read is no reason to stop


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
