"""GET /v1/models…: the models that are served."""

from __future__ import annotations

from fastapi import APIRouter

from ait_lite.images.formats import FORMATS
from service.engine import Engine
from service.http.dependencies import EngineDep, ModelName
from service.http.problems import documented
from service.http.v1.schemas import Limits, Model, Models, ModelVersion, Runtime
from service.memories.taught_model import TaughtModel
from service.models.served_model import ServedModel

router = APIRouter(tags=["models"])


@router.get("/v1/models", responses=documented(503))
async def list_models(engine: EngineDep) -> Models:
    """List all models."""
    models = engine.models
    models.check_started()
    answering = models.answering
    return Models(
        default=models.default if answering else None,
        models=[_describe(model, engine) for model in answering],
        index=[
            ModelVersion(model=each.name, version=each.version, state=each.state, reason=each.reason)
            for each in models.index()
        ],
    )


@router.get("/v1/models/{model}", responses=documented(404, 503))
async def show_model(engine: EngineDep, model: ModelName) -> Model:
    """Describe one model: its classes, input size and limits."""
    return _describe(engine.models.get(model), engine)


def _describe(model: ServedModel, engine: Engine) -> Model:
    folder, settings = model.folder, engine.settings
    return Model(
        name=folder.name,
        version=folder.version,
        versions=engine.models.versions(folder.name),
        architecture=folder.architecture,
        labels=model.labels,
        input_size=list(model.input_size),
        calibrated=model.calibrated,
        memory=isinstance(model, TaughtModel),
        associative_head=folder.has_associative_head,
        runtime=Runtime.model_validate(model.runtime),
        limits=Limits(
            body_bytes=settings.max_body_bytes,
            pixels=settings.max_pixels,
            aspect=settings.max_aspect,
            files=settings.max_files,
            formats=list(FORMATS),
        ),
    )
