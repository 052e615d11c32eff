"""/v2…: the Open Inference Protocol over REST."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from service.engine import Engine
from service.http.dependencies import TIMEOUT_HEADER, EngineDep, ModelName, Version, asked_deadline
from service.http.disconnect import while_connected
from service.http.operations import Live, Ready
from service.http.problems import documented_protocol
from service.http.uploads import read_body
from service.http.v2.body import HEADER_LENGTH, header_length
from service.http.v2.infer import infer
from service.http.v2.metadata import model_config, model_metadata, signature_of
from service.http.v2.schemas import ModelMetadata, ModelReady, ServerMetadata
from service.http.v2.schemas import Statistics as StatisticsAnswer
from service.http.v2.statistics import Statistics, Times
from service.inference_protocol import accepted_encoding, compress, encode_response, parse_request
from service.models.served_model import ServedModel

router = APIRouter(prefix="/v2", tags=["inference protocol"])

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
]

_WORTH_COMPRESSING = 1024  # bytes; less fits a packet as it is

_OCTETS = "application/octet-stream"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_DOCUMENTED = {
    "parameters": [
        {
            "name": HEADER_LENGTH,
            "in": "header",
            "description": "Bytes of the JSON part of the body, decompressed, if binary data follows.",
            "schema": {"type": "integer", "minimum": 1},
        },
        {
            "name": TIMEOUT_HEADER,
            "in": "header",
            "description": "Seconds after which the answer is of no use; the server has a limit of its own.",
            "schema": {"type": "number", "exclusiveMinimum": 0},
        },
    ],
    "requestBody": {
        "required": True,
        "description": (
            "An inference request: JSON, and after it the binary data of its inputs, if any. The body may be "
            'compressed with gzip or deflate. A parameter "timeout" is in microseconds.'
        ),
        "content": {"application/json": {"schema": {"type": "object"}}, _OCTETS: _BINARY},
    },
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": f"An inference response: JSON, and after it binary data; then {HEADER_LENGTH} is set.",
        "content": {"application/json": {"schema": {"type": "object"}}, _OCTETS: _BINARY},
    }
}
_INFER: dict[str, Any] = {
    "openapi_extra": _DOCUMENTED,
    "responses": {**documented_protocol(400, 404, 413, 415, 422, 429, 503, 504), **_ANSWER},
    "response_class": Response,
}
_MODEL: dict[str, Any] = {"responses": documented_protocol(404, 503)}


async def get_statistics(request: Request) -> Statistics:
    """Get the counters of the application that a request came to."""  # async: FastAPI runs others on a thread
    statistics: Statistics = request.app.state.statistics
    return statistics


async def get_all_statistics(request: Request) -> Statistics:
    """Add up the counters of all processes of the server; one that does not answer in a second is left out."""
    return (await get_statistics(request)).plus(*await request.app.state.peers.ask("statistics", seconds=1.0))


StatisticsDep = Annotated[Statistics, Depends(get_statistics)]
AllStatisticsDep = Annotated[Statistics, Depends(get_all_statistics)]


@router.get("")
async def server_metadata(request: Request) -> ServerMetadata:
    """Describe the server and the extensions it offers."""
    return ServerMetadata(name="ait", version=request.app.version, extensions=EXTENSIONS)


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def server_live() -> Live:
    """Say whether the process runs."""
    return Live()


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", responses=documented_protocol(503))
async def server_ready(engine: EngineDep) -> Ready:
    """Say whether requests are answered."""
    engine.check_ready()
    return Ready()


@router.get("/models/stats", responses=documented_protocol(503))
async def all_statistics(engine: EngineDep, statistics: AllStatisticsDep) -> StatisticsAnswer:
    """Give the counters of every version that answers."""
    ready = [(each.name, each.version) for each in engine.models.index() if each.state == "ready"]
    return _describe(statistics, ready)


@router.get("/models/{model}", **_MODEL)
async def metadata(engine: EngineDep, model: ModelName) -> ModelMetadata:
    """Describe the model's inputs and outputs."""
    return _metadata(engine, model)


@router.get("/models/{model}/versions/{version}", **_MODEL)
async def version_metadata(engine: EngineDep, model: ModelName, version: Version) -> ModelMetadata:
    """Describe the inputs and outputs of one version."""
    return _metadata(engine, model, version)


@router.get("/models/{model}/ready", **_MODEL)
async def model_ready(engine: EngineDep, model: ModelName) -> ModelReady:
    """Say whether the model answers."""
    return _ready(engine, model)


@router.get("/models/{model}/versions/{version}/ready", **_MODEL)
async def version_ready(engine: EngineDep, model: ModelName, version: Version) -> ModelReady:
    """Say whether one version answers."""
    return _ready(engine, model, version)


@router.get("/models/{model}/config", **_MODEL)
async def config(engine: EngineDep, model: ModelName) -> dict[str, Any]:
    """Describe the model's configuration, as Triton does."""
    return model_config(engine.models.get(model))


@router.get("/models/{model}/versions/{version}/config", **_MODEL)
async def version_config(engine: EngineDep, model: ModelName, version: Version) -> dict[str, Any]:
    """Describe the configuration of one version."""
    return model_config(engine.models.get(model, version))


@router.get("/models/{model}/stats", **_MODEL)
async def model_statistics(engine: EngineDep, statistics: AllStatisticsDep, model: ModelName) -> StatisticsAnswer:
    """Give the counters of all versions of a model that answer."""
    name = engine.models.get(model).folder.name
    return _describe(statistics, [(name, version) for version in engine.models.versions(name)])


@router.get("/models/{model}/versions/{version}/stats", **_MODEL)
async def version_statistics(
    engine: EngineDep, statistics: AllStatisticsDep, model: ModelName, version: Version
) -> StatisticsAnswer:
    """Give the counters of one version."""
    folder = engine.models.get(model, version).folder
    return _describe(statistics, [(folder.name, folder.version)])


@router.post("/models/{model}/infer", **_INFER)
async def infer_model(request: Request, engine: EngineDep, statistics: StatisticsDep, model: ModelName) -> Response:
    """Run the model."""
    return await _answer(request, engine, statistics, model)


@router.post("/models/{model}/versions/{version}/infer", **_INFER)
async def infer_version(
    request: Request, engine: EngineDep, statistics: StatisticsDep, model: ModelName, version: Version
) -> Response:
    """Run one version of a model."""
    return await _answer(request, engine, statistics, model, version)


def _metadata(engine: Engine, name: str, version: str | None = None) -> ModelMetadata:
    return ModelMetadata(**model_metadata(engine.models.get(name, version), engine.models.versions(name)))


def _ready(engine: Engine, name: str, version: str | None = None) -> ModelReady:
    engine.check_open()
    return ModelReady(name=engine.models.get(name, version).folder.name)


def _describe(statistics: Statistics, versions: list[tuple[str, str]]) -> StatisticsAnswer:
    return StatisticsAnswer.model_validate({"model_stats": [statistics.describe(*each) for each in versions]})


async def _answer(
    request: Request, engine: Engine, statistics: Statistics, name: str, version: str | None = None
) -> Response:
    engine.check_open()
    deadline = asked_deadline(request, engine)
    engine.models.get(name, version)  # before a large body is read in vain
    length = header_length(request)
    body = await read_body(request, engine.settings.max_body_bytes)
    with engine.models.use(name, version) as model:
        return await while_connected(request, _infer(request, engine, statistics, model, body, length, deadline))


async def _infer(
    request: Request,
    engine: Engine,
    statistics: Statistics,
    model: ServedModel,
    body: bytearray,
    length: int | None,
    deadline: float | None,
) -> Response:
    began = time.perf_counter()
    folder = model.folder
    asked = parse_request(body, length, signature_of(model), max_json_bytes=engine.settings.max_json_bytes)
    parsed = time.perf_counter()
    try:
        inferred = await infer(engine, model, asked, deadline)
        computed = time.perf_counter()
        encoded = encode_response(inferred.outputs, model=folder.name, version=folder.version, request_id=asked.id)
        response = await _respond(encoded.body, encoded.header_length, request.headers.get("accept-encoding"))
    except (Exception, asyncio.CancelledError):
        statistics.failed(folder.name, folder.version, time.perf_counter() - began)
        raise
    ended = time.perf_counter()
    statistics.succeeded(
        folder.name,
        folder.version,
        Times(
            queue=inferred.queue,
            compute_input=parsed - began + inferred.decode,
            compute_infer=inferred.infer,
            compute_output=ended - computed,
            total=ended - began,
        ),
    )
    return response


async def _respond(body: bytes, length: int | None, accepted: str | None) -> Response:
    headers = {"Vary": "Accept-Encoding"}
    if length is not None:
        headers[HEADER_LENGTH] = str(length)
    if len(body) >= _WORTH_COMPRESSING and (encoding := accepted_encoding(accepted)):
        body = await asyncio.to_thread(compress, body, encoding)
        headers["Content-Encoding"] = encoding
    return Response(body, headers=headers, media_type="application/json" if length is None else _OCTETS)
