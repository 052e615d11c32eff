"""The application for Ray Serve: what Ray is told, and what a replica tells Ray of itself. No cluster is started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import SettingsError
from service.ray_app import Replica, Scale, build
from service.repository.folders import ModelError
from service.settings import Settings


def test_ray_leaves_batching_and_limits_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIT_MAX_BATCH", "16")
    monkeypatch.setenv("AIT_MAX_QUEUE", "100")
    monkeypatch.setenv("AIT_SHUTDOWN_SECONDS", "7")
    deployment = build(Scale(min_replicas=2, max_replicas=3, processors=2))._bound_deployment
    config = deployment._deployment_config
    assert config.max_ongoing_requests >= 100 + 2 * 16  # more than fits, so that it is the service that says 429
    assert config.autoscaling_config
    assert 16 <= config.autoscaling_config.target_ongoing_requests < config.max_ongoing_requests
    assert (config.autoscaling_config.min_replicas, config.autoscaling_config.max_replicas) == (2, 3)
    assert config.graceful_shutdown_timeout_s == 7
    assert deployment.ray_actor_options["num_cpus"] == 2
    (settings,) = deployment.init_args
    assert (settings.torch_threads, settings.decode_threads, settings.max_batch) == (2, 2, 16)


def test_threads_that_were_chosen_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIT_TORCH_THREADS", "3")
    (settings,) = build(Scale(processors=2))._bound_deployment.init_args
    assert settings.torch_threads == 3


def test_certificates_are_for_the_proxy_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIT_TLS_CERT", "certificate.pem")
    with pytest.raises(SettingsError, match="ssl_certfile"):
        build(Scale())


def test_a_scale_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"max_replicas=1 is below min_replicas=2"):
        Scale(min_replicas=2, max_replicas=1)
    with pytest.raises(ValidationError, match="replicas_max"):
        Scale.model_validate({"replicas_max": 3})


def test_a_replica_is_healthy_when_its_model_answers(settings: Settings) -> None:
    async def start() -> bool:
        replica = Replica(settings)
        app = replica.__serve_build_asgi_app__()
        check = asyncio.create_task(replica.check_health())
        await asyncio.sleep(0)
        assert not check.done()
        async with app.router.lifespan_context(app):
            await check
            return app.state.engine.ready

    assert asyncio.run(start())


def test_a_replica_without_a_model_says_why(settings: Settings, tmp_path: Path) -> None:
    async def start() -> None:
        replica = Replica(settings.model_copy(update={"model": str(tmp_path / "nothing")}))
        app = replica.__serve_build_asgi_app__()
        async with app.router.lifespan_context(app):
            await replica.check_health()

    with pytest.raises(ModelError, match="nothing"):
        asyncio.run(start())
