"""A head in closed form: what a linear layer of it says is ridge regression, and leaving out is leaving out."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.models.training_models import small_vit
from training.errors import RecipeError
from training.model.ridge_head import head_inputs, linear_head, set_head, solve_head


def clusters(
    count: int, width: int, classes: int, seed: int, spread: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features around a centre per class, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, width, generator=generator)
    return centres[labels] + spread * torch.randn(count, width, generator=generator), labels


@given(
    count=st.integers(6, 30),
    width=st.integers(1, 12),
    classes=st.integers(2, 4),
    shift=st.floats(-5, 5),
    scale=st.floats(0.01, 100),
)
def test_answers_do_not_depend_on_where_and_how_large_features_are(
    count: int, width: int, classes: int, shift: float, scale: float
) -> None:
    features, labels = clusters(count, width, classes, seed=3)
    plain, moved = (solve_head(each, labels, classes) for each in (features, features * scale + shift))
    assert plain.regularisation == moved.regularisation
    said, expected = (features * scale + shift) @ moved.weight.T + moved.bias, features @ plain.weight.T + plain.bias
    torch.testing.assert_close(said, expected, rtol=0, atol=2e-3 * max(1.0, abs(shift) / scale))


def test_leaving_an_example_out_is_solving_without_it() -> None:
    features, labels = clusters(40, 5, 3, seed=1)
    head = solve_head(features, labels, 3)
    # By hand: the same centring, scale and regularisation, one row less.
    given_features = features.double().numpy()
    centred = given_features - given_features.mean(axis=0)
    rows = np.column_stack([centred / np.sqrt(np.square(centred).sum(axis=1).mean()), np.ones(40)])
    targets = np.eye(3)[labels.numpy()]
    for left in range(40):
        kept = np.delete(np.arange(40), left)
        gram = rows[kept].T @ rows[kept] + head.regularisation * np.eye(6)
        weights = np.linalg.solve(gram, rows[kept].T @ targets[kept])
        np.testing.assert_allclose(head.left_out[left].numpy(), rows[left] @ weights, atol=1e-5)


def test_it_is_as_accurate_as_a_logistic_regression() -> None:
    features, labels = clusters(1200, 40, 4, seed=2, spread=4.0)
    head = solve_head(features[:600], labels[:600], 4)
    weight, bias = torch.zeros(4, 40, requires_grad=True), torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(features[:600] @ weight.T + bias, labels[:600])
        value = value + 1e-2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    solved, learned = (
        ((features[600:] @ w.T + b).argmax(1) == labels[600:]).double().mean()
        for w, b in ((head.weight, head.bias), (weight.detach(), bias.detach()))
    )
    assert solved >= learned - 0.03  # 600 images: one standard error is 0.02
    assert abs(float((head.left_out.argmax(1) == labels[:600]).double().mean()) - float(solved)) < 0.06


@torch.no_grad()
def test_a_model_says_what_its_head_does() -> None:
    model: Any = small_vit().eval()
    images = torch.randn(12, 3, 16, 16)
    read = head_inputs(model, images)
    head = solve_head(read, torch.arange(12) % 3, 3)
    set_head(model, head)
    torch.testing.assert_close(model(images), read @ head.weight.T + head.bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("ait_tiny_patch4_32", {"global_pool": "flat"}, "global_pool: avg"),
        ("vit_tiny_patch16_224", {"num_classes": 0}, "ends in a linear layer"),
    ],
)
def test_a_model_without_a_linear_head_is_refused(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        linear_head(timm.create_model(name, **args))
