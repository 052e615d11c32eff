"""A memory that answers as a model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.engine import Engine
from service.errors import MemoryInvalid
from service.memories.memories import Memories
from service.memories.taught_model import TaughtModel
from service.models.served_model import Inference
from service.settings import load_settings
from tests.support.stress.memory_histories import DIM, lesson, taught


def test_an_image_in_which_the_model_sees_nothing_is_refused(tmp_path: Path) -> None:
    settings = load_settings(memories=str(tmp_path / "memories.sqlite"))
    memories = Memories(settings, Engine(settings))
    memory = taught(memories.store, lesson("a", "cat"), lesson("b", "dog")).memory("pets")
    seen = np.ones((1, DIM), np.float32)

    async def infer(*_: Any, **__: Any) -> Inference:
        return Inference(seen, 0.0, 0.0)

    folder = SimpleNamespace(path=tmp_path, architecture="any")
    told = dict.fromkeys(("input_size", "num_features", "runtime", "no_torch", "max_batch"))
    under: Any = SimpleNamespace(folder=folder, infer=infer, **told)
    model = TaughtModel(memories, memory, ["cat", "dog"], calibrated=False, model=under)
    try:
        assert asyncio.run(model.infer([seen])).outputs.shape == (1, 2)
        seen[:] = 0
        with pytest.raises(MemoryInvalid, match="sees nothing in this image"):
            asyncio.run(model.infer([seen]))
    finally:
        memories.close()
