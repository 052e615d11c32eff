"""HTTP routes; each module has one `router`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from service.engine import Engine
from service.problems import Problem
from service.runner import Classifier


def get_engine(request: Request) -> Engine:
    """The engine of the application that a request came to."""
    engine: Engine = request.app.state.engine
    return engine


EngineDep = Annotated[Engine, Depends(get_engine)]
ModelName = Annotated[str, Path(description="Name of a model, as listed at /v1/models.")]
Version = Annotated[str, Path(description="A version of the model.")]


def find_model(engine: Engine, name: str, version: str | None = None) -> Classifier:
    """The model of that name.

    Raises:
        Problem: 404 if there is none, 503 while it is loading.
    """
    classifier = engine.classifier
    folder = classifier.folder
    if name != folder.name:
        raise Problem(404, "unknown-model", f"There is no model {name[:100]!r}. There is: {folder.name}.")
    if version not in (None, folder.version):
        detail = f"Model {folder.name} has no version {version[:100]!r}. It has: {folder.version}."
        raise Problem(404, "unknown-version", detail)
    return classifier
