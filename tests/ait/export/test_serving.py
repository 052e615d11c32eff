"""A folder for servers without torch is compared with its model, and says what it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from typer.testing import CliRunner

from ait.export import (
    export_serving,
    graph,
)
from ait.export.sample_images import read_images
from ait.preprocessing import data_config_of
from ait.pretrained import load_model
from ait_cli.main import app
from ait_lite.checkpoint import fingerprint
from ait_lite.corrections import Corrections, load_corrections
from ait_lite.images.normalise import Normalising
from ait_lite.runtimes import read_prepared
from tests.support.models.exported_models import make
from tests.support.models.small_checkpoints import save_small_checkpoint

run = CliRunner().invoke


def test_a_server_folder_is_compared_and_calibrated_on_the_images_that_are_given(
    checkpoint: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def quantise(source: Path, path: Path, *arguments: Any, calibration: np.ndarray) -> None:
        seen.append(calibration)
        path.write_bytes(source.read_bytes())

    monkeypatch.setattr(graph, "quantise", quantise)
    result = run(
        app, ["export", str(checkpoint), str(tmp_path / "new"), "--format", "serving", "--images", str(photos)]
    )
    assert result.exit_code == 0, result.output
    own = {each.numpy().tobytes() for each in read_images(make(), [photos])}
    assert len(own) == 5
    compared = Normalising(data_config_of(make()))(read_prepared(tmp_path / "new").reference().images)
    assert {each.tobytes() for each in compared[:5]} == own
    assert len(compared) == 64  # made images fill up
    (calibration,) = seen
    assert {each.tobytes() for each in calibration[:5]} == own


def test_a_server_folder_of_images_that_are_none_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    result = run(
        app, ["export", str(checkpoint), str(tmp_path / "new"), "--format", "serving", "--images", str(tmp_path / "x")]
    )
    assert result.exit_code == 1
    assert "no such file or folder of images" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def prepared(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "model"
    export_serving(load_model(checkpoint), checkpoint, folder, int8=False)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["export", "PREPARED", "model.onnx"],
        ["export", "PREPARED", "again", "--format", "serving"],
        ["evaluate", "PREPARED", "PHOTOS"],
        ["evaluate", "PREPARED", "PHOTOS", "--runtime", "auto"],
        ["train", "quick", "data.root=PHOTOS", "model.checkpoint=PREPARED", "output=out"],
    ],
)
def test_what_needs_weights_says_what_a_prepared_folder_is(
    words: list[str], prepared: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, [each.replace("PREPARED", str(prepared)).replace("PHOTOS", str(photos)) for each in words])
    assert result.exit_code == 1, result.output
    told = " ".join(result.stderr.split())
    assert f"{prepared} is a prepared model" in told
    assert "name the checkpoint that it was exported from" in told


def test_a_prepared_model_has_the_corrections_of_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = save_small_checkpoint(tmp_path / "checkpoint")
    key = np.eye(1, 16, dtype=np.float32)
    made = Corrections(
        ("a",),
        ("photo.jpg",),
        key,
        np.array([2]),
        np.ones(1, np.float32),
        np.zeros(16, np.float32),
        0.9,
        fingerprint(checkpoint),
    )
    made.save(checkpoint)
    model = timm.create_model(f"local-dir:{checkpoint}", pretrained=True).eval()
    export_serving(model, checkpoint, tmp_path / "prepared", int8=False)
    found = load_corrections(tmp_path / "prepared")
    assert found is not None
    assert (found.ids, found.labels.tolist(), found.fingerprint) == (("a",), [2], made.fingerprint)
