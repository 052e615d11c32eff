"""Energies through the layers, and responsibilities that add up."""

import pytest
import timm
import torch

from ait.interpret.energy_report import energy_report
from ait.interpret.memory_report import memory_report


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("ait_tiny_patch4_32", num_classes=3, embed_dim=32, depth=3, num_heads=2)


def test_the_global_energy_is_that_of_all_layers(model: torch.nn.Module) -> None:
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    report = energy_report(model, images, batch_size=2)
    assert model.training
    assert report.energy.shape == (3, 5, 64)
    assert report.responsibilities.shape == (3, 5, 64, 3)
    torch.testing.assert_close(report.responsibilities.sum(-1), torch.ones(3, 5, 64))
    for index, memory in enumerate(memory_report(model, images)):
        # A layer's own energy at its own queries, less the logarithm of its share, is the energy of all.
        own = memory.energy_before + report.responsibilities[index, ..., index].log()
        torch.testing.assert_close(report.energy[index], own, rtol=1e-4, atol=1e-3)


def test_other_models_are_refused() -> None:
    with pytest.raises(TypeError, match="no associative memory"):
        energy_report(timm.create_model("resnet10t"), torch.zeros(1, 3, 32, 32))
