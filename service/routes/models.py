"""GET /v1/models…: what is served."""

from __future__ import annotations

from fastapi import APIRouter

from service.engine import Engine
from service.images import FORMATS
from service.problems import documented
from service.routes import EngineDep, ModelName, find_model
from service.runner import Classifier
from service.schemas import Limits, Model, Models

router = APIRouter(tags=["models"])


@router.get("/v1/models", responses=documented(503))
async def list_models(engine: EngineDep) -> Models:
    """All models."""
    classifier = engine.classifier
    return Models(default=classifier.folder.name, models=[_describe(classifier, engine)])


@router.get("/v1/models/{model}", responses=documented(404, 503))
async def show_model(engine: EngineDep, model: ModelName) -> Model:
    """One model: its classes, input size and limits."""
    return _describe(find_model(engine, model), engine)


def _describe(classifier: Classifier, engine: Engine) -> Model:
    folder, settings = classifier.folder, engine.settings
    return Model(
        name=folder.name,
        version=folder.version,
        versions=[folder.version],
        architecture=folder.architecture,
        labels=classifier.labels,
        input_size=list(classifier.input_size),
        limits=Limits(
            body_bytes=settings.max_body_bytes,
            pixels=settings.max_pixels,
            aspect=settings.max_aspect,
            files=settings.max_files,
            formats=list(FORMATS),
        ),
    )
