"""Weights that are stored in a way that a model cannot compute with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from service.model_process.classifier import Classifier
from service.repository.folders import ModelError, locate


def test_quantised_weights_are_refused(model_folder: Path, tmp_path: Path) -> None:
    """Read as floats, without their scales, they would give answers that look sure."""
    folder = shutil.copytree(model_folder, tmp_path / "quantised")
    weights = load_file(folder / "model.safetensors")
    matrix = weights["blocks.0.attn.qkv.weight"]
    weights["blocks.0.attn.qkv.weight"] = (matrix * 127 / matrix.abs().max()).round().to(torch.int8)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"blocks\.0\.attn\.qkv\.weight as whole numbers \(I8\).*as floats"):
        Classifier(locate(folder))


def test_a_head_that_timm_would_leave_random_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "contradictory")
    config = json.loads((folder / "config.json").read_text())
    made = config["num_classes"]
    config |= {
        "num_classes": made + 2,
        "model_args": config["model_args"] | {"num_classes": made},
        "label_names": None,
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"says {made + 2} classes in num_classes and {made} in model_args"):
        Classifier(locate(folder))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_width_are_taken(model_folder: Path, tmp_path: Path, kind: torch.dtype) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "cast")
    weights = load_file(folder / "model.safetensors")
    save_file({name: each.to(kind) for name, each in weights.items()}, folder / "model.safetensors")
    assert Classifier(locate(folder)).labels == ["red", "green", "blue"]
