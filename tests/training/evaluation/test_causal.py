"""A checkpoint is scored without its memory on labelled images."""

from pathlib import Path

import pytest
import timm
from timm.models import save_for_hf

import ait  # noqa: F401  # registers the ait_* models with timm
from training.errors import CheckpointError
from training.evaluation.causal import measure_effects
from training.evaluation.evaluate import evaluate


def save(folder: Path, name: str) -> Path:
    model = timm.create_model(name, num_classes=3, img_size=16, embed_dim=16, depth=1, num_heads=2)
    save_for_hf(model, folder, safe_serialization=True)
    return folder


def test_it_agrees_with_the_evaluation(data_root: Path, cache: Path, tmp_path: Path) -> None:
    checkpoint = save(tmp_path, "ait_tiny_patch4_32")
    report = measure_effects(checkpoint, data_root, cache=cache)
    result = evaluate(checkpoint, data_root, cache=cache)
    assert report.images == result.images == 15
    assert report.accuracy == pytest.approx(result.top1)
    assert report.loss == pytest.approx(result.nll, rel=1e-4)
    assert len(report.norm_ratios) == 1


def test_a_few_images_of_every_class_are_enough(data_root: Path, cache: Path, tmp_path: Path) -> None:
    assert measure_effects(save(tmp_path, "ait_tiny_patch4_32"), data_root, cache=cache, limit=6).images == 6


def test_a_model_without_a_memory_is_refused(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no associative memory"):
        measure_effects(save(tmp_path, "vit_tiny_patch16_224"), data_root)
