"""Models that are served in each runtime, and explained in torch beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ait_lite.checkpoint import WEIGHTS
from ait_lite.runtimes.prepared import GRAPH
from service.model_process.supervised import SupervisedProcess
from service.models import idleness
from service.models.registry import Models
from tests.support.models.served_models import IMAGE, Witness, ask, expected
from tests.support.processes.waiting import until


@pytest.fixture
def root(tmp_path: Path, prepared_folder: Path) -> Path:
    """A folder of models with one in it, which is prepared and has no weights."""
    shutil.copytree(prepared_folder, tmp_path / "root" / "colours" / "1")
    return tmp_path / "root"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_prepared_model_is_served_without_torch(
    served: Any, launcher: Any, model_folder: Path, runtime: str
) -> None:
    @served(runtime=runtime)
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        assert (model.runtime["name"], model.runtime["precision"]) == (runtime, "fp32")
        np.testing.assert_allclose(await ask(model, 6), expected(model_folder).repeat(6, axis=0), atol=1e-3)
        features = (await model.infer([model.prepare(IMAGE)], operation="features")).outputs
        assert features.shape == (1, model.num_features)
        assert not model.explains
        assert "holds a graph and no weights" in model.no_torch
        libraries = Path(f"/proc/{model.pid}/maps").read_text()
        assert "libtorch" not in libraries


def test_it_is_explained_by_another_process(served: Any, root: Path, model_folder: Path) -> None:
    shutil.copyfile(model_folder / WEIGHTS, root / "colours" / "1" / WEIGHTS)

    @served(runtime="auto")
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        assert model.runtime["name"] != "torch"
        assert model.explains
        found = await model.explain(model.prepare(IMAGE))
        np.testing.assert_allclose(found["logits"], expected(model_folder)[0], atol=1e-3)
        assert ("batch", "explain", 1) in witness.told


def test_torch_is_loaded_for_explanations_only_when_all_models_are(
    served: Any, root: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(model_folder / WEIGHTS, root / "colours" / "1" / WEIGHTS)
    shutil.copytree(root / "colours", root / "others")
    started: list[tuple[str, bool]] = []
    start = SupervisedProcess.start

    async def noted(process: SupervisedProcess) -> None:
        started.append((process._spec["name"], process._spec["only_explains"]))
        await start(process)

    monkeypatch.setattr(SupervisedProcess, "start", noted)
    monkeypatch.setattr(idleness, "IDLE_SECONDS", 0.0)

    @served(runtime="auto")
    async def _(models: Models, witness: Witness) -> None:
        await until(lambda: all(each.explainer_pid for each in models.answering), "both to be loaded in torch")
        assert started[:2] == [("colours", False), ("others", False)]
        assert sorted(started[2:]) == [("colours", True), ("others", True)]


@pytest.mark.parametrize(
    ("serving", "runtime", "reason"),
    [
        ('{"runtime": "openvino"}', "openvino", "asked for"),
        ('{"precision": "int8"}', "onnxruntime", "onnxruntime int8 was asked for, but"),
        ('{"runtime": "openvino", "precision": "int8"}', "openvino", "openvino int8 was asked for, but"),
        ("{}", "onnxruntime", "asked for"),
    ],
)
def test_what_a_model_asks_for_goes_before_the_settings(
    served: Any, root: Path, serving: str, runtime: str, reason: str
) -> None:
    (root / "colours" / "serving.json").write_text(serving)

    @served(runtime="onnxruntime")
    async def _(models: Models, witness: Witness) -> None:
        told = models.get().runtime
        assert (told["name"], told["precision"]) == (runtime, "fp32")
        assert told["reason"].startswith(reason)


def test_weights_are_served_where_the_graph_was_altered(served: Any, root: Path, model_folder: Path) -> None:
    folder = root / "colours" / "1"
    shutil.copyfile(model_folder / WEIGHTS, folder / WEIGHTS)
    (folder / GRAPH).write_bytes((folder / GRAPH).read_bytes()[:-1])

    @served(runtime="auto", explain="off", cache=str(root.parent / "cache"))
    async def _(models: Models, witness: Witness) -> None:
        model = models.get()
        np.testing.assert_allclose(await ask(model), expected(model_folder), atol=1e-3)
        assert not model.explains
