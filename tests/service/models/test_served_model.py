"""A model behind a real process: answers, overload, and processes that die."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import ModelUnavailable, QueueFull
from service.model_process.classifier import Classifier
from service.model_process.client import ModelProcess
from service.model_process.mixed_batch import split
from service.models.registry import Models, ModelStatus
from service.repository.folders import locate
from tests.support.images.service_images import scene
from tests.support.models.served_models import (
    Witness,
    ask,
    ask_until_answered,
    batch_size,
    expected,
    fill,
    refused,
    stopped,
)
from tests.support.processes.processes import alive
from tests.support.processes.waiting import until


def test_answers_are_those_of_the_model(served: Any, model_folder: Path) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        assert (model.folder.name, model.folder.version, model.input_size) == ("colours", "1", (3, 32, 32))
        np.testing.assert_allclose(await ask(model), expected(model_folder), rtol=1e-4, atol=1e-5)

        direct = Classifier(locate(model_folder))
        cropped = [model.prepare(scene(40 + side, 50)) for side in range(11)]
        batch = split(cropped)
        logits = direct.logits(batch)
        assert direct.torch_model is not None
        pixels = direct.torch_model.assemble(batch).numpy()
        # Some as bytes, some normalised; more of them than a batch holds.
        mixed = [pixels[place] if place % 3 else each for place, each in enumerate(cropped)]
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
        np.testing.assert_allclose(features, direct.features(batch), rtol=1e-4, atol=1e-4)
        head = direct.torch_model.module.get_classifier()
        weights, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
        np.testing.assert_allclose(features @ weights.T + bias, logits, rtol=1e-3, atol=1e-3)

        explained = await model.explain(cropped[0])
        assert explained["class_index"] == logits[0].argmax()
        for wrong in (np.zeros((3, 32, 31), np.uint8), np.zeros((3, 32, 32), np.float64)):
            with pytest.raises(ValueError, match="An input is"):
                await model.infer([wrong])


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
        assert sum(told[2] for told in witness.told if told[0] == "batch") == 2 * batch_size(model) + 5


def test_its_process_takes_second_place_to_the_front(served: Any) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        pid = models.get().pid
        assert pid
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 5, 19)


def test_a_process_that_dies_is_restarted(served: Any, model_folder: Path) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        pid = model.pid
        assert pid
        with stopped(model):
            running, last = await fill(model, 1)
            os.kill(pid, signal.SIGKILL)
            answers = await asyncio.gather(*running, return_exceptions=True)
        assert {type(answer) for answer in answers} == {ModelUnavailable}
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
        assert model.pid
        os.kill(model.pid, signal.SIGKILL)
        await until(lambda: not model.ready)
        with refused(503, "cannot be restarted"):
            await ask(model)
        (root / "elsewhere").rename(weights)
        await until(lambda: model.ready)
        await ask(model)


def test_a_process_that_cannot_be_started_for_a_moment(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        fork = model._process._launcher.fork
        failed: list[None] = []

        def fork_later(connection: socket.socket) -> None:
            if not failed:
                failed.append(None)
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            fork(connection)

        with monkeypatch.context() as patch:
            patch.setattr(model._process._launcher, "fork", fork_later)
            assert model.pid
            os.kill(model.pid, signal.SIGKILL)
            await until(lambda: failed)
            await until(lambda: model.ready, "the process to be started again")
        assert ("loaded", "colours/1", False) in witness.told
        await ask(model)


def test_a_process_that_is_being_restarted_does_not_keep_the_server_from_ending(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @served(stuck_seconds=1e6)
    async def _(models: Models, witness: Witness) -> None:
        loading = asyncio.Event()

        async def never(*_: Any, **__: Any) -> None:
            loading.set()
            await asyncio.Event().wait()

        model = models.get()
        with monkeypatch.context() as patch:
            patch.setattr(ModelProcess, "start", never)
            assert model.pid
            os.kill(model.pid, signal.SIGKILL)
            await loading.wait()
            asked = asyncio.create_task(ask(model))
            await until(lambda: model._batchers["logits"].running)
            await models.close(0.01)
        with refused(503, "was being restarted"):
            await asked


def test_a_process_that_hangs_is_restarted(served: Any) -> None:
    @served(stuck_seconds=0.3)
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        with stopped(model), refused(503, "did not answer"):
            await ask(model)
        await ask_until_answered(model)
        assert ("ended", "colours/1", False) in witness.told


def test_a_process_that_hangs_does_not_keep_the_server_from_ending(served: Any) -> None:
    @served(stuck_seconds=1e6)
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        pid = model.pid
        assert pid
        with stopped(model):
            running, last = await fill(model, 1)
            await models.close(0.1)
            answers = await asyncio.gather(*running, last, return_exceptions=True)
        assert {type(answer) for answer in answers} == {ModelUnavailable}
        await until(lambda: not alive(pid), "the process to end")


def test_processes_end_with_their_models(served: Any, model_folder: Path) -> None:
    pids = []

    @served()
    async def _(models: Models, witness: Witness) -> None:
        pids.append(models.get().pid)

    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
