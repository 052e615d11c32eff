"""The associative head: a retrieval of classes, taught by writes, that can stand on any backbone."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models import get_notrace_functions, get_notrace_modules, save_for_hf
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

import ait  # noqa: F401  # registers the ait_* models with timm
from ait.memory.associative_head import AssociativeHead
from tests.ait.conftest import MakeModel


def head(**changes: Any) -> AssociativeHead:
    torch.manual_seed(0)
    return AssociativeHead(**{"in_features": 8, "num_classes": 3, "num_priors": 2, **changes})


def clusters(count: int, centre: int, width: int = 8) -> Tensor:
    """Features near one axis."""
    generator = torch.Generator().manual_seed(centre)
    return 3 * F.one_hot(torch.tensor(centre), width).float() + 0.3 * torch.randn(count, width, generator=generator)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(4))


# Reading


def test_probabilities_are_one_hopfield_retrieval_of_the_classes(features: Tensor) -> None:
    layer = head()
    priors = F.normalize(layer.weight, dim=-1)
    labels = F.one_hot(torch.arange(3).repeat_interleave(2), 3).float()
    retrieved = (layer.beta() * F.normalize(features, dim=-1) @ priors.mT).softmax(-1) @ labels
    torch.testing.assert_close(layer(features).softmax(-1), retrieved)
    torch.testing.assert_close(layer.recall_weights(features).sum(-1), retrieved)


def test_with_one_prior_a_class_it_is_the_cosine_classifier(features: Tensor) -> None:
    layer = head(num_priors=1, beta=7.0)
    torch.testing.assert_close(layer(features), 7 * F.cosine_similarity(features[:, None], layer.weight[None], dim=-1))


def test_only_directions_count(features: Tensor) -> None:
    layer = head()
    before = layer(features)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(6, 1) + 0.5)
    torch.testing.assert_close(layer(3 * features), before)


@pytest.mark.parametrize("content", ["equal", "nothing"])
def test_without_its_memory_it_says_nothing(features: Tensor, content: str) -> None:
    layer = head()
    with torch.no_grad():
        layer.weight.copy_(layer.weight.mean(0).expand(6, -1) if content == "equal" else torch.zeros(6, 8))
    logits = layer(features)
    torch.testing.assert_close(logits, logits[:, :1].expand(-1, 3))


def test_a_class_that_holds_nothing_is_never_answered() -> None:
    layer = head()
    layer.forget(1)
    logits = layer(-layer.priors().mean((0, 1)) + torch.randn(50, 8, generator=torch.Generator().manual_seed(1)))
    assert not (logits.argmax(-1) == 1).any()
    assert logits.isfinite().all()


def test_half_precision_around_it_does_not_reach_the_priors(features: Tensor) -> None:
    layer = head(dtype=torch.bfloat16)
    assert layer.weight.dtype == torch.float32
    exact = layer(features)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(features), exact)
    assert layer(features.bfloat16()).dtype == torch.bfloat16


def test_it_takes_tokens_too(features: Tensor) -> None:
    layer = head()
    torch.testing.assert_close(layer(features.view(2, 3, 8)).flatten(0, 1), layer(features))


@pytest.mark.parametrize("wrong", [{"num_priors": 0}, {"beta": 0.0}, {"write_rate": 0.0}, {"num_classes": 0}])
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        head(**wrong)


# Learning


def test_the_gradient_reaches_priors_and_beta(features: Tensor) -> None:
    layer = head()
    F.cross_entropy(layer(features), torch.arange(6) % 3).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_an_image_never_reads_its_own_write(features: Tensor) -> None:
    layer, labels = head(), torch.tensor([0, 0, 1, 1, 2, 2])
    for index in range(6):
        alone = features.clone()
        others = torch.arange(6) != index
        expected = features[others]
        # What the other images of the batch would write, read by this image.
        sums = layer.forward_with_batch(alone, labels, 0.5)[index]
        priors = layer.priors().clone()
        for label in range(3):
            mine = expected[labels[others] == label]
            if len(mine):
                query = F.normalize(mine, dim=-1)
                won = (layer.beta() * query @ priors[label].mT).softmax(-1)
                mean = F.normalize(won.mT @ query, dim=-1)
                priors[label] = F.normalize(0.5 * priors[label] + 0.5 * mean, dim=-1)
        overlap = priors @ F.normalize(features[index], dim=-1)
        logits = (layer.beta() * overlap).logsumexp(-1) - torch.tensor(2.0).log()
        torch.testing.assert_close(sums, logits)


def test_an_image_alone_in_its_class_reads_the_stored_priors(features: Tensor) -> None:
    layer = head()
    torch.testing.assert_close(layer.forward_with_batch(features[:1], torch.tensor([2]), 0.9), layer(features[:1]))
    torch.testing.assert_close(layer.forward_with_batch(features, torch.arange(6) % 3, 0.0), layer(features))


def test_a_batch_with_images_of_an_empty_class_can_be_learned_from(features: Tensor) -> None:
    layer, labels = head(), torch.arange(6) % 4
    layer.add_classes(1)
    torch.testing.assert_close(layer.forward_with_batch(features, labels, 0.0), layer(features))
    # An image alone in a class that holds nothing has nothing to read.
    alone = layer.forward_with_batch(features[:4], labels[:4], 0.5)
    torch.testing.assert_close(alone[3, 3], -layer.beta())
    loss = F.cross_entropy(layer.forward_with_batch(features, labels, 0.5), labels)
    loss.backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.norm() < 10
    assert not layer.weight.grad[-2:].any()


def test_a_batch_is_read_in_float32_under_autocast(features: Tensor) -> None:
    layer, labels = head(), torch.arange(6) % 3
    with torch.autocast("cpu", torch.bfloat16):
        logits = layer.forward_with_batch(features, labels, 0.5)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, layer.forward_with_batch(features, labels, 0.5))


def test_evaluation_and_training_write_nothing_by_themselves(features: Tensor) -> None:
    layer = head()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.train()(features)
    layer.eval()(features)
    layer.forward_with_batch(features, torch.arange(6) % 3, 0.5)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


# Teaching


def test_a_new_class_is_taught_by_its_examples() -> None:
    layer = head(num_classes=2)
    for label in range(2):
        layer.forget(label)
        layer.teach(label, clusters(20, label))
    old = layer.priors().clone()
    layer.add_classes(1)
    layer.teach(2, clusters(1, 5))
    assert layer.num_classes == 3
    torch.testing.assert_close(layer.priors()[:2], old)
    for label, centre in enumerate((0, 1, 5)):
        assert (layer(clusters(30, centre)).argmax(-1) == label).all()


def test_teaching_one_by_one_is_teaching_at_once() -> None:
    examples = clusters(3, 1)
    at_once, one_by_one, other_order = head(), head(), head()
    for layer in (at_once, one_by_one, other_order):
        layer.forget(0)
    at_once.teach(0, examples)
    for example in examples:
        one_by_one.teach(0, example[None])
    for example in examples.flip(0):
        other_order.teach(0, example[None])
    torch.testing.assert_close(one_by_one.state_dict(), at_once.state_dict())
    torch.testing.assert_close(other_order.state_dict(), at_once.state_dict())


def test_the_priors_of_a_class_divide_its_examples() -> None:
    layer = head()
    layer.forget(0)
    layer.teach(0, torch.cat([clusters(10, 1), clusters(10, 4)]))
    assert sorted(layer.priors()[0].argmax(-1).tolist()) == [1, 4]
    assert layer.examples[:2].tolist() == [10, 10]
    layer.teach(0, clusters(5, 4))
    assert sorted(layer.examples[:2].tolist()) == [10, 15]


def test_a_learned_prior_moves_by_the_write_rate() -> None:
    layer = head(write_rate=0.1)
    before = layer.priors()[0].clone()
    example = before[1] + 0.1
    layer.teach(0, example[None])
    after = layer.priors()[0]
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1], F.normalize(0.9 * before[1] + 0.1 * F.normalize(example, dim=-1), dim=-1))
    layer.teach(0, example[None], rate=1.0)
    torch.testing.assert_close(layer.priors()[0, 1], F.normalize(example, dim=-1))


def test_what_cannot_be_taught_is_refused() -> None:
    layer = head()
    with pytest.raises(ValueError, match="no class 3"):
        layer.teach(3, torch.ones(1, 8))
    with pytest.raises(ValueError, match="shape"):
        layer.teach(0, torch.ones(1, 7))
    with pytest.raises(ValueError, match="NaN"):
        layer.teach(0, torch.full((1, 8), torch.nan))
    before = layer.weight.clone()
    layer.teach(0, torch.empty(0, 8))
    assert torch.equal(layer.weight, before)


# In a model


def test_a_model_is_taught_a_class_from_images(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(head="associative", global_pool="avg").train()
    model.teach(5, images[:2])
    assert model.training
    assert model.num_classes == model.get_classifier().num_classes == 6
    assert (model.eval()(images[:2]).argmax(-1) == 5).all()
    with pytest.raises(TypeError, match="associative"):
        make_model().teach(0, images)


def test_it_replaces_the_linear_classifier(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(head="associative", global_pool="avg", head_args={"num_priors": 3}).eval()
    assert isinstance(model.get_classifier(), AssociativeHead)
    pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(model(images), model.get_classifier()(pooled))
    model.reset_classifier(7, "max")
    assert model.get_classifier().weight.shape == (21, 32)
    assert model(images).shape == (8, 7)
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), nn.Identity)
    with pytest.raises(ValueError, match="flat"):
        model.reset_classifier(7, "flat")
    with pytest.raises(ValueError, match="Unknown head"):
        make_model(head="quadratic")


def test_decay_leaves_the_priors_alone(make_model: MakeModel) -> None:
    assert {"head.weight", "head.log_beta"} <= make_model(head="associative").no_weight_decay()
    assert "head.weight" not in make_model().no_weight_decay()


@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained")
def test_traced_exported_and_compiled_models_agree(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(head="associative", global_pool="avg").eval()
    options = {"leaf_modules": get_notrace_modules(), "autowrap_functions": get_notrace_functions()}
    traced = create_feature_extractor(model, return_nodes={"head": "head"}, tracer_kwargs=options)
    assert torch.equal(traced(images)["head"], model(images))
    batch = torch.export.Dim("batch")
    exported = torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(exported(images[:3]), model(images[:3]))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), model(images))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
def test_a_scripted_head_agrees(features: Tensor) -> None:
    layer = head()
    torch.testing.assert_close(torch.jit.script(layer)(features), layer(features))


def create(name: str = "ait_tiny_patch4_32", **changes: Any) -> Any:
    """A small registered model, or the one of a folder."""
    small = {} if ":" in name else {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 16}
    return timm.create_model(name, **{**small, **changes})


def test_a_saved_model_keeps_its_head(tmp_path: Path, images: Tensor) -> None:
    model = create(head="associative", num_classes=5).eval()
    model.teach(5, images[:3])
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    loaded = create(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert torch.equal(loaded(images), model(images))
    other = create(f"local-dir:{tmp_path}", pretrained=True, num_classes=3)
    assert other.get_classifier().weight.shape == (12, 32)
    assert create(f"local-dir:{tmp_path}", pretrained=True, num_classes=0)(images).shape == (8, 32)
    with pytest.raises(ValueError, match="associative"):
        create(f"local-dir:{tmp_path}", pretrained=True, head="linear")


@pytest.mark.parametrize("pool", ["avg", "flat"])
def test_weights_with_a_linear_head_are_a_start(tmp_path: Path, pool: str) -> None:
    start = create(global_pool=pool)
    save_for_hf(start, str(tmp_path), safe_serialization=True)
    model = create(f"local-dir:{tmp_path}", pretrained=True, head="associative", global_pool="avg")
    torch.testing.assert_close(model.blocks.state_dict(), start.blocks.state_dict())
    assert isinstance(model.get_classifier(), AssociativeHead)
    torch.testing.assert_close(model.get_classifier().priors().norm(dim=-1), torch.ones(10, 4))
