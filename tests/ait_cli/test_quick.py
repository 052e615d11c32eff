"""What `ait train quick` leaves goes through every command that comes next."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fastapi.testclient import TestClient
from timm.models import save_for_hf
from typer.testing import CliRunner

from ait_cli.main import app
from ait_lite.checkpoint import EXEMPLARS, read_config, read_temperature
from service.app import create_app
from service.settings import Settings
from tests.support.images.training_images import CLASSES, write_images
from tests.support.processes.waiting import CEILING
from tests.support.servers.service_client import labels, post, wait_until_ready

ARGS: dict[str, Any] = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}


def ait(*arguments: object) -> str:
    """Run a command that must succeed, and return what it prints."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_quick_run_goes_through_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "images", 12, seed=1)
    write_images(tmp_path / "later", 6, seed=2)
    for seed in (5, 6):
        torch.manual_seed(seed)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **ARGS)
        save_for_hf(model, str(tmp_path / f"backbone{seed}"), model_args=ARGS, safe_serialization=True)
        ait(
            "train",
            "quick",
            f"data.root={tmp_path / 'images'}",
            f"data.cache={tmp_path / 'cache'}",
            "data.workers=0",
            "model=vit_tiny_patch16_224",
            f"model.checkpoint={tmp_path / f'backbone{seed}'}",
            f"output={tmp_path / f'run{seed}'}",
            f"figures={str(seed == 5).lower()}",
        )
    best, later = tmp_path / "run5" / "best", tmp_path / "later"

    found = json.loads(ait("evaluate", best, later, "--json", "--report", tmp_path / "report"))
    assert found["images"] == 18
    assert found["top1_interval"][0] < found["top1"] <= found["top1_interval"][1]
    assert found["checkpoint_temperature"] == read_temperature(read_config(best))
    assert (tmp_path / "report" / "report.md").is_file()

    ait("calibrate", best, later, "-o", tmp_path / "calibrated")
    assert read_config(tmp_path / "calibrated")["calibration"]["images"] == 18
    ait("exemplars", best, tmp_path / "images", "--per-class", 3, "-o", tmp_path / "shown")
    assert (tmp_path / "shown" / EXEMPLARS).is_file()

    ait("export", best, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").is_file()

    compared = json.loads(ait("compare", tmp_path / "run5", tmp_path / "run6", later, "--json"))
    assert compared["overall"]["images"] == 18
    assert set(compared["per_class"]) == set(CLASSES)

    for name in ("HOST", "PORT", *(f"AIT_{name.upper()}" for name in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(
        _env_file=None,
        model=str(best),
        runtime="torch",
        torch_threads=1,
        deadline_seconds=CEILING,
        allowed_hosts="testserver",
    )
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        image = (later / "bee" / "000.png").read_bytes()
        ((first, *_),) = labels(post(client, image))
    assert first["label"] in CLASSES
    assert 0 < first["score"] <= 1
