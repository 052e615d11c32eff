"""Which model a memory belongs to: the one whose feature vectors it holds."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from ait_lite.checkpoint import WEIGHTS, CheckpointError
from ait_lite.checkpoint import fingerprint as checkpoint_fingerprint
from service.errors import MemoryConflict, ModelUnavailable
from service.memories.records import Binding, Memory
from service.models.registry import Models
from service.models.served_model import ServedModel


class Bindings:
    """Compare memories with the models that are served, by the models' fingerprints."""

    def __init__(self, models: Models) -> None:
        """Take the models of this process."""
        self._models = models
        self._fingerprints: WeakKeyDictionary[ServedModel, str] = WeakKeyDictionary()

    def known(self, memory: Memory) -> ServedModel | None:
        """Find the version of a memory's model that it belongs to among those whose fingerprints are known."""
        binding = memory.binding
        return next(
            (
                model
                for model in reversed(self._models.loaded())
                if model.folder.name == binding.model and self._fingerprints.get(model) == binding.fingerprint
            ),
            None,
        )

    async def learn(self, name: str) -> None:
        """Make the fingerprints of all versions of a model known."""
        for model in self._models.loaded():
            if model.folder.name == name:
                await self._fingerprint(model)

    async def bind(self, name: str | None) -> Binding:
        """Bind a new memory to a model; None is the default one.

        Raises:
            ModelNotFound: There is no such model.
            ModelUnavailable: It does not answer now.
            MemoryConflict: It gives no feature vectors.
        """
        model = self._models.get(name)
        if not model.num_features or model not in self._models.loaded():
            raise MemoryConflict(_no_features(model))
        return Binding(model.folder.name, await self._fingerprint(model), model.num_features)

    async def model_of(self, memory: Memory) -> ServedModel:
        """Find the model that a memory belongs to.

        Raises:
            ModelNotFound: There is none of that name.
            ModelUnavailable: It does not answer now.
            MemoryConflict: The model of that name is another one by now, or gives no feature vectors as it is served.
        """
        name = memory.binding.model
        model = self.known(memory)
        if model is None:
            await self.learn(name)
            model = self.known(memory)
        if model is None:
            self._models.get(name)
            raise MemoryConflict(
                f"Memory {memory.name!r} was taught with another model {name} than the one that is served now: what "
                "it knows means nothing to this one. Serve the former version, or rebind it if it keeps images."
            )
        if not model.ready:
            raise ModelUnavailable(f"Model {name} is restarting.")
        if not model.num_features:
            raise MemoryConflict(_no_features(model))
        return model

    async def _fingerprint(self, model: ServedModel) -> str:
        if model not in self._fingerprints:
            try:
                self._fingerprints[model] = await asyncio.to_thread(checkpoint_fingerprint, model.folder.path)
            except CheckpointError as error:
                raise ModelUnavailable(str(error)) from None
        return self._fingerprints[model]


def _no_features(model: ServedModel) -> str:
    name, folder = model.folder.name, model.folder.path
    if (folder / WEIGHTS).is_file():
        return f"Model {name} gives no feature vectors. Choose another."
    return (
        f"Model {name} is a graph that gives no feature vectors. Serve the checkpoint that it was made from, export "
        "that again with `ait export CHECKPOINT FOLDER --format serving`, or choose another model."
    )
