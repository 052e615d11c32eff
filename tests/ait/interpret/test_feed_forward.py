"""Feed-forward networks as memories: which images fire a key, and what is dead."""

from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from ait.interpret.associations import answers_changed_without_memory
from ait.interpret.draw_keys import draw_keys
from ait.interpret.feed_forward import feed_forward_inputs, feed_forward_report, feed_forwards
from tests.ait.conftest import MakeModel


def small(**args: object) -> torch.nn.Module:
    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    return timm.create_model("vit_tiny_patch16_224", **size | args).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(10, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_strongest_images_are_those_with_the_largest_activation(images: torch.Tensor) -> None:
    model = small()
    report = feed_forward_report(model, images, count=3, batch_size=4)
    assert [memory.name for memory in report] == ["blocks.0.mlp", "blocks.1.mlp"]
    inputs = feed_forward_inputs(model, images)["blocks.1.mlp"]
    module = feed_forwards(model)["blocks.1.mlp"]
    hidden = module.act(module.fc1(inputs)).detach().view(10, -1, module.fc1.out_features)
    peaks = hidden.amax(1)
    memory = report[1]
    assert (memory.keys, memory.width) == (64, 16)
    torch.testing.assert_close(memory.activations, peaks.topk(3, dim=0).values.T)
    assert torch.equal(memory.strongest[:, 0], peaks.argmax(0))
    assert memory.order()[0] == peaks.max(0).values.argmax()
    terms = hidden.flatten(0, 1)[:, :, None] * module.fc2.weight.T.detach()  # (T, m, E)
    norms = terms.square().sum(2)
    largest = terms[torch.arange(len(terms)), norms.argmax(1)]
    snr = norms.max(1).values / (terms.sum(1) - largest).square().sum(1)
    assert memory.snr == pytest.approx(float(snr.median()), rel=1e-3)


def test_keys_that_never_fire_are_dead(images: torch.Tensor) -> None:
    model = small(act_layer=torch.nn.ReLU)
    with torch.no_grad():
        model.blocks[0].mlp.fc1.bias[:16] = -100.0
    report = feed_forward_report(model, images)
    assert report[0].dead == pytest.approx(0.25)
    assert bool((report[0].share[:16] == 0).all())
    assert 1 <= report[0].keys_per_token <= 48


def test_a_memory_that_evaluation_writes_is_not_written(make_model: MakeModel) -> None:
    model = make_model({"adaptive": True}).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(4, 3, 16, 16)
    feed_forward_report(model, images)
    feed_forward_inputs(model, images)
    answers_changed_without_memory(model, images)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_model_without_such_networks_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(TypeError, match="ResNet"):
        feed_forward_report(timm.create_model("resnet10t", num_classes=2), images)


def test_keys_are_drawn(images: torch.Tensor, tmp_path: Path) -> None:
    memory = feed_forward_report(small(), images, count=4)[0]
    draw_keys(memory, images.mul(40).add(128).clamp(0, 255).byte(), tmp_path / "keys.png", ["ant"] * 10)
    assert Image.open(tmp_path / "keys.png").height > 500
