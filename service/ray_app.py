"""The same application on Ray Serve: `serve run service.ray_app:build min_replicas=2 processors=2`.

A replica is the whole service of one process (its batching, limits, errors and metrics included), and Ray only
spreads requests over replicas and decides how many there are. Ray's own batching and queues stay out of the way: a
replica is given more requests than its batches and its queue hold, so that batches fill and an overload is answered
by the service, with a 429.

Without `from __future__ import annotations`: Ray looks at the type of `build`'s argument itself.
"""

import asyncio
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from service.app import create_app
from service.engine import Engine
from service.errors import SettingsError
from service.model_process.streams import streams_on
from service.models.served_model import AHEAD
from service.processes.machine import freeze_garbage_collector
from service.settings import Settings, load_settings


class Scale(BaseModel):
    """The number of replicas, and the share of the machine that each may use."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="As AIT_MODEL.")
    min_replicas: int = Field(1, ge=1, description="Replicas that are always there.")
    max_replicas: int = Field(4, ge=1, description="Replicas there are at most.")
    processors: int = Field(1, ge=1, description="Processors of a replica: the threads of its forward passes.")
    gpus: float = Field(0.0, ge=0.0, description="GPUs of a replica; 0.5 puts two of them on one.")

    @model_validator(mode="after")
    def _check_order(self) -> "Scale":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}; raise it.")
        return self


class Replica:
    """One process of the service, as Ray starts it."""

    def __init__(self, settings: Settings) -> None:
        """Make the application; it is loaded when Ray starts it."""
        self._loaded = asyncio.Event()
        # Ray's proxy is what listens, on an address that is its own matter.
        self._app = create_app(settings.model_copy(update={"allowed_hosts": "*"}), self._on_loaded)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._app

    def _on_loaded(self, _: Engine) -> None:
        freeze_garbage_collector()
        self._loaded.set()

    async def check_health(self) -> None:
        """Tell Ray whether this replica works.

        It gets no requests before this has returned, and is replaced if this raises.

        A model's process that has died is not a reason: the service starts it again, faster than Ray would.

        Raises:
            ModelError: Nothing can be served.
        """
        await self._loaded.wait()
        engine: Engine = self._app.state.engine
        if engine.failure:
            raise engine.failure


def build(arguments: Scale) -> Application:
    """Build the application for `serve run` and `serve deploy`.

    Settings are read from the environment here, where the command runs, and are the same for every replica.

    Raises:
        SettingsError: A setting in the environment is not usable.
    """
    settings = load_settings(model=arguments.model)
    if settings.tls_cert is not None or settings.tls_key is not None:
        raise SettingsError(
            "AIT_TLS_CERT and AIT_TLS_KEY do nothing on Ray Serve, whose proxy takes the connections. Unset them, and "
            "give the proxy ssl_certfile and ssl_keyfile in http_options."
        )
    if not settings.torch_threads:
        settings = settings.model_copy(update={"torch_threads": arguments.processors})
    if not settings.decode_threads:
        settings = settings.model_copy(update={"decode_threads": arguments.processors})
    # Any, for what Ray annotates has no bind.
    deployment: Any = serve.deployment(serve.ingress()(Replica), **_options(settings, arguments))
    application: Application = deployment.bind(settings)
    return application


def _options(settings: Settings, arguments: Scale) -> dict[str, Any]:
    # Batches in the model, and the next ones made: no wait for Ray in between.
    working = settings.max_batch * (streams_on("cpu", settings.torch_threads) + AHEAD + 1)
    return {
        "name": "ait",
        "max_ongoing_requests": settings.max_queue + working,
        "max_queued_requests": settings.max_queue,
        "autoscaling_config": AutoscalingConfig(
            min_replicas=arguments.min_replicas,
            max_replicas=arguments.max_replicas,
            # One batch running and one waiting: fewer would not fill batches, more only wait.
            target_ongoing_requests=2 * settings.max_batch,
            upscale_delay_s=10.0,
            downscale_delay_s=300.0,
        ),
        "ray_actor_options": {"num_cpus": arguments.processors, "num_gpus": arguments.gpus},
        "graceful_shutdown_timeout_s": float(settings.shutdown_seconds),
        "health_check_period_s": 5.0,
        "health_check_timeout_s": 30.0,
    }
