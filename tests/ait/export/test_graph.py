"""A graph answers as the eager model does, in every runtime, whatever the architecture and the batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ait.export import ExportError, graph
from ait.export.graph import write_graphs
from ait.interpret.embedding import embed_and_classify
from ait.memory.associative_head import AssociativeHead
from ait_lite.runtimes import GRAPH_RUNTIMES, open_graph, read_prepared

SMALL = {
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "pretrained_cfg_overlay": {"input_size": (3, 16, 16)},
}
CONVOLUTIONAL = {"pretrained_cfg_overlay": {"input_size": (3, 32, 32), "test_input_size": None}}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "AiT": ("ait_tiny_patch4_32", SMALL),
    "AiT, associative head": ("ait_tiny_patch4_32", {**SMALL, "head": "associative", "global_pool": "avg"}),
    "ViT": ("vit_tiny_patch16_224", SMALL),
    "ResNet": ("test_resnet", CONVOLUTIONAL),
    "ConvNeXt": ("test_convnext", CONVOLUTIONAL),
    "EfficientNet": ("test_efficientnet", CONVOLUTIONAL),
}


def make(case: str) -> nn.Module:
    name, args = MODELS[case]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3, **args)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # whose statistics must matter
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, AssociativeHead):
            module.forget(1)  # a class that holds nothing is answered apart from the others
    return model.eval()


@pytest.mark.parametrize("case", list(MODELS))
@torch.no_grad()
def test_every_runtime_answers_as_eager_at_any_batch_size(case: str, tmp_path: Path) -> None:
    model = make(case)
    prepared = write_graphs(model, tmp_path)
    assert read_prepared(tmp_path) == prepared
    path = prepared.graph("fp32")
    assert path is not None
    size = prepared.data_config["input_size"]
    for runtime in GRAPH_RUNTIMES:
        run = open_graph(runtime, path)
        for batch in (1, 3, 8):
            pixels = torch.randn(batch, *size, generator=torch.Generator().manual_seed(batch))
            features, logits = embed_and_classify(model, pixels)
            found = run(pixels.numpy())
            np.testing.assert_allclose(found.logits, logits, atol=1e-4, rtol=1e-4)
            assert found.features is not None
            np.testing.assert_allclose(found.features, features, atol=1e-4, rtol=1e-4)
    assert str(tmp_path.parent) not in path.read_bytes().decode("latin-1")  # nor any other place on this machine
    assert ".py" not in path.read_bytes().decode("latin-1")


def test_a_quantised_graph_is_kept_only_if_it_agrees(tmp_path: Path) -> None:
    model = make("ViT")
    nn.init.normal_(model.get_classifier().weight, std=3.0)
    prepared = write_graphs(model, tmp_path, int8=True)
    found = prepared.agreement["onnxruntime int8"]
    agrees = found["same_label"] >= 0.99 and found["probability_difference"] <= 0.01
    assert (prepared.graph("int8") is not None) == agrees
    assert found["images"] == 64  # each once, however often it was run
    assert found["largest_difference"] > prepared.agreement["onnxruntime fp32"]["largest_difference"]


@pytest.mark.parametrize(("kept", "made"), [(0, 64), (20, 44), (100, 0)])
def test_int8_is_calibrated_with_exemplars_first(
    kept: int, made: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exemplars are flat here, each twice, and no made image is."""
    flats = [np.full((3, 16, 16), level, np.uint8) for level in range(kept) for _ in range(2)]
    monkeypatch.setattr(graph, "_exemplar_images", lambda checkpoint, crop: flats)
    seen = []

    def quantise(*arguments: Any, calibration: np.ndarray) -> None:
        seen.append(calibration)
        raise InterruptedError

    monkeypatch.setattr(graph, "quantise", quantise)
    with pytest.raises(InterruptedError):
        write_graphs(make("ViT"), tmp_path, tmp_path, int8=True)
    (calibration,) = seen
    flat = [each.min() == each.max() for each in calibration]
    assert (sum(flat), len(flat) - sum(flat)) == (min(kept, 64), made)


def test_a_model_that_cannot_be_traced_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("ViT")
    forward = type(model).forward_features
    monkeypatch.setattr(
        type(model), "forward_features", lambda self, x, **_: forward(self, x if x.sum() > -1e9 else -x)
    )
    with pytest.raises(ExportError, match="cannot follow the model"):
        write_graphs(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_take_the_size_it_says_is_named(tmp_path: Path) -> None:
    model = VisionTransformer(img_size=16, patch_size=4, embed_dim=32, depth=1, num_heads=2, num_classes=3)
    with pytest.raises(ExportError, match="does not take images of 3 x 224 x 224"):
        write_graphs(model, tmp_path)
