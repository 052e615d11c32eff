"""Feature vectors: what the classifier reads, in one vector an image whatever the model."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor

from ait import AssociativeTransformer
from ait.interpret.embedding import embed, embed_and_classify

MakeModel = Callable[..., AssociativeTransformer]


@pytest.mark.parametrize("pool", ["flat", "avg", "max", "token", "map", ""])
def test_every_pooling_gives_one_vector_an_image(make_model: MakeModel, images: Tensor, pool: str) -> None:
    model = make_model(global_pool=pool, num_classes=0 if pool == "" else 5).eval()
    with torch.no_grad():
        assert embed(model, images).shape == (8, 32)


def test_a_flattened_heads_features_are_those_of_the_model_without_a_head(
    make_model: MakeModel, images: Tensor
) -> None:
    model, headless = make_model(global_pool="flat").eval(), make_model(global_pool="avg", num_classes=0).eval()
    headless.load_state_dict({name: value for name, value in model.state_dict().items() if "head" not in name})
    with torch.no_grad():
        torch.testing.assert_close(embed(model, images), headless(images))


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_features_are_what_the_classifier_reads(name: str) -> None:
    model = timm.create_model(name, num_classes=3).eval()
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        features, logits = embed_and_classify(model, images)
        torch.testing.assert_close(logits, model(images))
        torch.testing.assert_close(model.get_classifier()(features), logits)
