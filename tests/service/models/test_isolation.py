"""One model that cannot be served, or fails, leaves the others as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from service.model_process.client import Reply
from service.models.registry import Models
from service.models.served_model import ServedModel
from service.repository.catalogue import Catalogue
from service.repository.folders import ModelFolder, ModelKey
from tests.support.models.served_models import Witness, ask, publish, refused


def test_the_reason_is_given_where_the_model_is_asked_for(served: Any, root: Path, model_folder: Path) -> None:
    (publish(model_folder, root, "bad", 1) / "config.json").write_text("[" * 100_000)
    publish(model_folder, root, "colours", 2).rename(root / "colours" / "v2")

    @served()
    async def _(models: Models, witness: Witness) -> None:
        reasons = {(each.name, each.version): each.reason for each in models.index() if each.state == "unavailable"}
        assert "nested too deeply" in reasons["bad", "1"]
        assert "not a whole number" in reasons["colours", "v2"]
        for name, version in (("bad", None), ("bad", "1")):
            with refused(503, "nested too deeply"):
                models.get(name, version)
        with refused(503, "not a whole number"):
            models.get("colours", "v2")
        assert models.get("colours").folder.version == "1"
        await ask(models.get("colours"))


def test_whatever_reading_a_model_raises_keeps_no_other_out(
    served: Any, root: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(model_folder, root, "bad", 1)
    read = Catalogue.read

    def broken(self: Catalogue, key: ModelKey) -> ModelFolder:
        if key.name == "bad":
            raise RecursionError("deep")
        return read(self, key)

    monkeypatch.setattr(Catalogue, "read", broken)

    @served()
    async def _(models: Models, witness: Witness) -> None:
        assert models.failure is None
        await ask(models.get("colours"))
        with refused(503, "RecursionError"):
            models.get("bad")


def test_a_folder_that_cannot_be_looked_at_any_more_takes_nothing_down(
    served: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @served(reload_seconds=0)
    async def _(models: Models, witness: Witness) -> None:
        def denied(path: Path) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("service.repository.catalogue.fingerprint", denied)
        await models.load("colours")
        await ask(models.get("colours"))
        (status,) = models.index()
        assert (status.state, "Permission denied" in status.reason) == ("ready", True)


@pytest.mark.parametrize(("damage", "words"), [(0.0, "every image alike"), (float("nan"), "not finite")])
def test_weights_that_answer_every_image_alike_are_not_ready(
    served: Any, root: Path, model_folder: Path, damage: float, words: str
) -> None:
    folder = publish(model_folder, root, "constant", 1)
    weights = load_file(folder / "model.safetensors")
    save_file({name: each * damage for name, each in weights.items()}, folder / "model.safetensors")

    @served()
    async def _(models: Models, witness: Witness) -> None:
        with refused(503, words):
            models.get("constant")


def test_an_answer_that_is_not_finite_is_an_error(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    infer, spoilt = ServedModel._infer, True

    async def broken(self: ServedModel, operation: str, inputs: list[np.ndarray]) -> Any:
        rows = await infer(self, operation, inputs)
        if spoilt:  # the last of a batch, of however many images
            rows[-1].values.fill(np.nan)
        return rows

    monkeypatch.setattr(ServedModel, "_infer", broken)

    @served()
    async def _(models: Models, witness: Witness) -> None:
        nonlocal spoilt
        model = models.get("colours")
        with refused(500, "not finite"):
            await ask(model, 2)
        spoilt = False
        assert np.isfinite(await ask(model, 1)).all()


def test_an_answer_with_too_few_rows_is_nobodys(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @served()
    async def _(models: Models, witness: Witness) -> None:
        model = models.get("colours")
        call = model._process.call

        async def short(*arguments: Any, **options: Any) -> Reply:
            reply = await call(*arguments, **options)
            return replace(reply, arrays={"outputs": reply.arrays["outputs"][:-1]})

        with monkeypatch.context() as patch:
            patch.setattr(model._process, "call", short)
            with pytest.raises(RuntimeError, match=r"A batch of \d+ items had \d+ results"):
                await ask(model, 2)
        assert np.isfinite(await ask(model, 1)).all()
