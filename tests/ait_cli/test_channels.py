"""A model that takes images of four channels, which files do not hold, is told of by every command."""

from pathlib import Path

import pytest
import timm
from timm.models import save_for_hf
from typer.testing import CliRunner

from ait_cli.main import app

run = CliRunner().invoke


@pytest.fixture(scope="module")
def four_channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = {"embed_dim": 32, "depth": 1, "num_heads": 2, "in_chans": 4}
    model = timm.create_model("ait_tiny_patch4_32", num_classes=2, **size)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_for_hf(model, folder, model_config={"label_names": ["ant", "cat"]}, model_args=size, safe_serialization=True)
    return folder


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "exemplars", "inspect", "predict", "export"])
def test_the_channels_are_named(
    command: str, four_channels: Path, labelled_images: Path, image_file: Path, tmp_path: Path
) -> None:
    model = str(four_channels)
    arguments = {
        "inspect": [model, str(image_file), "-o", str(tmp_path / "x.png")],
        "predict": [str(image_file), "--model", model],
        "export": [model, str(tmp_path / "x.pt2"), "--images", str(labelled_images)],
    }.get(command, [model, str(labelled_images)])
    result = run(app, [command, *arguments])
    assert result.exit_code == 1, result.output
    assert "takes images of 4 channels, and image files are read as grey or RGB" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["data.caching=none"]], ids=lambda options: options or "run")
def test_training_one_is_refused_before_it_begins(options: list[str], labelled_images: Path, tmp_path: Path) -> None:
    keys = [f"data.root={labelled_images}", f"output={tmp_path / 'run'}", f"data.cache={tmp_path / 'cache'}"]
    model = ["model=ait_tiny_patch4_32", "model.args={in_chans: 4}"]
    result = run(app, ["train", "folder", *keys, *model, *options])
    assert result.exit_code == 1, result.output
    assert "model.args.in_chans" in result.stderr
    assert not (tmp_path / "run").exists()
