"""The training scripts of `examples/` train on images of one's own."""

from pathlib import Path

import timm
import torch

import ait  # noqa: F401  registers the ait_* models
from ait_lite.checkpoint.config import read_config
from ait_lite.checkpoint.labels import named_labels
from tests.support.processes.examples import run_example


def test_own_training_loop_saves_a_checkpoint_with_its_labels(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    printed = run_example("examples/own_training_loop.py", photos, folder, "--epochs", 2, "--batch-size", 4)
    assert "epoch 2: loss" in printed
    assert named_labels(read_config(folder)) == ("cat", "dog")
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_lightning_trains(photos: Path) -> None:
    printed = run_example("examples/lightning_training.py", photos, "--epochs", 1, "--batch-size", 4)
    assert "after 2 steps" in printed


def test_hugging_face_trainer_trains(photos: Path, tmp_path: Path) -> None:
    printed = run_example("examples/hf_trainer.py", photos, tmp_path / "run", "--epochs", 1, "--batch-size", 4)
    assert "after 2 steps" in printed
