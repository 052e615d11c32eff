"""A whitened patch embedding gives white, centred features."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.support.models.training_models import small_vit
from training.errors import RecipeError
from training.model.whitening import whiten_patch_embedding


def test_whitened_patch_features_are_white_and_centred() -> None:
    model = small_vit()
    colouring = torch.randn(3, 3)
    images = F.avg_pool2d(torch.randn(400, 3, 18, 18), 3, stride=1)
    images = torch.einsum("ij,njhw->nihw", colouring, images) + 1.0
    whiten_patch_embedding(model, images, scale=0.5, ridge=0.0)
    features = model.patch_embed(images).flatten(0, 1).detach()
    covariance = torch.cov(features.T)
    inputs = 3 * 4 * 4
    assert torch.allclose(covariance[:inputs, :inputs], 0.25 * torch.eye(inputs), atol=2e-3)
    assert torch.allclose(features[:, inputs : 2 * inputs], -features[:, :inputs], atol=1e-3)
    assert features.mean(dim=0).abs().max() < 1e-3
    assert covariance.diag()[2 * inputs :].mean() == pytest.approx(0.25, rel=0.3)


def test_whitening_needs_a_patch_embedding() -> None:
    with pytest.raises(RecipeError, match="patch_whitening"):
        whiten_patch_embedding(nn.Linear(2, 2), torch.zeros(1, 3, 4, 4))
