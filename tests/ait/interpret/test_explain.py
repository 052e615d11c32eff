"""An explanation says what the model does: the map adds up to the logit, and the patches it names matter."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ait import AssociativeTransformer
from ait.interpret.attribution import held
from ait.interpret.embedding import embed
from ait.interpret.explain import PatchMap, explain
from ait.interpret.memory_report import memory_report

MakeModel = Callable[..., AssociativeTransformer]


def explained(model: nn.Module, image: Tensor, label: int | None = None) -> PatchMap:
    """The map, after checking that it adds up to the model's own logit."""
    explanation = explain(model, image, label)
    with torch.no_grad():
        logits = model(image)[0]
    torch.testing.assert_close(explanation.logits, logits)
    found = explanation.patch_map
    assert found is not None
    assert found.logit == pytest.approx(float(logits[found.label]), abs=1e-5)
    assert float(found.values.sum()) + found.rest == pytest.approx(found.logit, abs=1e-5)
    return found


def constants(model: Any, image: Tensor, label: int) -> float:
    """What everything but the image adds to a logit: biases, positions, prefix tokens and recalled patterns."""
    recalled: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        recalled.append(output.detach().requires_grad_())
        return recalled[-1]

    scales = [block.workspace.ls for block in model.blocks if hasattr(block, "workspace")]
    handles = [scale.register_forward_hook(keep) for scale in scales]
    added = [value for name, value in model.named_parameters() if name.endswith(("bias", "pos_embed", "_token"))]
    with held(model):
        logit = model(image)[0, label]
        gradients = torch.autograd.grad(logit, [*added, *recalled], allow_unused=True)
    for handle in handles:
        handle.remove()
    assert len(recalled) == len(scales)
    parts = zip([*added, *recalled], gradients, strict=True)
    return sum(float((value * gradient).sum().detach()) for value, gradient in parts if gradient is not None)


@pytest.mark.parametrize("kernel", ["dot", "d2"])
@pytest.mark.parametrize("pool", ["flat", "avg", "token", "map"])
def test_the_map_is_exactly_what_the_constants_leave(
    make_model: MakeModel, images: Tensor, pool: str, kernel: str
) -> None:
    """With choices held, the model is affine: the terms of the patches and those of all constants are the logit."""
    model = make_model({"retrieval": kernel}, global_pool=pool).eval()
    _shake(model)
    for label in (0, 3):
        found = explained(model, images[:1], label)
        assert found.method == "contribution"
        assert found.values.shape == (4, 4)
        assert (found.values != 0).all()
        assert found.rest == pytest.approx(constants(model, images[:1], label), abs=1e-4)


@pytest.mark.parametrize("num_priors", [1, 3])
def test_the_map_of_an_associative_head_is_of_what_it_recalls(
    make_model: MakeModel, images: Tensor, num_priors: int
) -> None:
    model = make_model(global_pool="avg", head="associative", head_args={"num_priors": num_priors}).eval()
    _shake(model)
    found = explained(model, images[:1], 2)
    assert (found.values != 0).all()
    # Nothing is recalled for sure where a class has one prior; where it has more, what is not certain is a constant.
    unsure = found.rest - constants(model, images[:1], 2)
    recall = model.head.recall_weights(embed(model, images[:1]))[0, 2]
    share = recall / recall.sum()
    expected = torch.special.entr(share).sum() - torch.tensor(float(num_priors)).log()
    assert unsure == pytest.approx(float(expected.detach()), abs=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_vit2"])
def test_the_map_of_a_plain_vision_transformer_is_exact_too(name: str) -> None:
    model = timm.create_model(name, num_classes=3, img_size=32).eval()
    _shake(model)
    image = torch.randn(1, 3, 32, 32)
    found = explained(model, image, 1)
    assert found.values.shape == (2, 2)
    assert found.rest == pytest.approx(constants(model, image, 1), abs=1e-4)


def test_a_patch_of_the_mean_colour_has_no_say(make_model: MakeModel, images: Tensor) -> None:
    image = images[:1].clone()
    image[..., 4:8, 8:12] = 0
    values = explained(make_model().eval(), image).values
    assert values[1, 2] == 0
    assert (values == 0).sum() == 1


def test_holding_a_model_keeps_its_answers_and_ends(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(global_pool="map").eval()
    _shake(model)
    expected = model(images)
    with held(model):
        torch.testing.assert_close(model(images), expected)
    assert not any(module._forward_hooks for module in model.modules())


def _shake(model: nn.Module) -> None:
    """Make everything matter that starts as zero or one."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_a_convolutional_networks_map_is_of_its_last_cells() -> None:
    model: Any = timm.create_model("test_resnet", num_classes=3).eval()
    image = torch.randn(1, 3, 160, 160)
    found = explained(model, image, 2)
    assert (found.method, tuple(found.values.shape)) == ("gradient", (5, 5))
    weight = model.get_classifier().weight[2].detach()
    with torch.no_grad():
        cells = model.forward_features(image)[0]
    torch.testing.assert_close(found.values, (cells * weight.view(-1, 1, 1)).sum(0) / 25)
    assert found.rest == pytest.approx(float(model.get_classifier().bias[2].detach()), abs=1e-5)


def test_cells_with_channels_last_are_summed_over_channels() -> None:
    class Cells(nn.Module):
        num_classes, num_features, output_fmt = 2, 7, "NHWC"

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(7, 2)

        def forward_features(self, x: Tensor) -> Tensor:
            return x.permute(0, 2, 3, 1)

        def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
            return x.mean((1, 2)) if pre_logits else self.head(x.mean((1, 2)))

        def forward(self, x: Tensor) -> Tensor:
            return self.forward_head(self.forward_features(x))

    assert explained(Cells().eval(), torch.randn(1, 7, 2, 3)).values.shape == (2, 3)


def test_a_model_with_neither_patches_nor_cells_has_no_map() -> None:
    model = timm.create_model("hiera_tiny_224", num_classes=3, embed_dim=8, stages=(1, 1, 1, 1)).eval()
    explanation = explain(model, torch.randn(1, 3, 224, 224))
    assert explanation.patch_map is None
    assert explanation.logits.shape == (3,)
    assert explanation.blocks == ()


def test_an_image_that_patches_do_not_fill_is_mapped_whole(make_model: MakeModel) -> None:
    model = make_model(global_pool="avg", dynamic_img_size=True, dynamic_img_pad=True).eval()
    assert explained(model, torch.randn(1, 3, 14, 19)).values.shape == (4, 5)


def test_the_best_class_is_explained_unless_another_is_named(make_model: MakeModel, images: Tensor) -> None:
    model = make_model().eval()
    with torch.no_grad():
        assert explained(model, images[:1]).label == int(model(images[:1]).argmax())
    assert explained(model, images[:1], 4).label == 4


@pytest.mark.parametrize("kernel", ["dot", "d1"])
def test_blocks_tell_what_the_memory_report_measures(make_model: MakeModel, images: Tensor, kernel: str) -> None:
    model = make_model({"retrieval": kernel})
    explanation = explain(model, images[:1], priors=2)
    for block, measured in zip(explanation.blocks, memory_report(model, images[:1]), strict=True):
        torch.testing.assert_close(block.energy_before, measured.energy_before[0])
        torch.testing.assert_close(block.energy_after, measured.energy_after[0])
        assert (block.energy_after <= block.energy_before + 1e-4).all()
        assert block.num_priors == 6
        assert block.priors.shape == block.weights.shape == (16, 2)
        torch.testing.assert_close(block.weights, measured.recall[0].gather(1, block.priors))
        torch.testing.assert_close(block.weights[:, 0], measured.recall[0].amax(1))
        assert (block.weights[:, 0] >= block.weights[:, 1]).all()


def test_an_explanation_tells_the_answer_without_the_memory(make_model: MakeModel, images: Tensor) -> None:
    model = make_model().eval()
    without = explain(model, images[:1]).without_retrieval
    for block in model.associative_blocks():
        torch.nn.init.zeros_(block.workspace.retrieval.proj.weight)
    torch.testing.assert_close(without, model(images[:1])[0].detach())
    vit = timm.create_model("test_vit", num_classes=3, img_size=32)
    assert explain(vit, torch.randn(1, 3, 32, 32)).without_retrieval is None


def test_an_explanation_tells_what_an_associative_head_recalled(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(global_pool="avg", head="associative", head_args={"num_priors": 3}).eval()
    model.head.forget(1)
    explanation = explain(model, images[:1])
    recall = explanation.class_recall
    assert recall is not None
    assert recall.shape == (5, 3)
    torch.testing.assert_close(recall.sum(1), explanation.logits.softmax(0))
    assert explain(make_model(), images[:1]).class_recall is None


def test_no_more_priors_are_told_than_there_are(make_model: MakeModel, images: Tensor) -> None:
    for block in explain(make_model(), images[:1], priors=99).blocks:
        assert block.priors.shape == (16, 6)
        torch.testing.assert_close(block.weights.sum(1), torch.ones(16))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_explaining_changes_nothing(make_model: MakeModel, images: Tensor, training: bool, adaptive: bool) -> None:
    model = make_model({"adaptive": adaptive}).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explain(model, images[:1])
    assert model.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_works_where_gradients_are_off(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(global_pool="token").eval()
    expected = explain(model, images[:1])
    with torch.inference_mode():
        found = explain(model, images[:1].clone())
    assert expected.patch_map is not None
    assert found.patch_map is not None
    assert torch.equal(found.patch_map.values, expected.patch_map.values)
    assert torch.equal(found.features, embed(model, images[:1]).detach()[0])
    assert not found.features.requires_grad
    assert not found.patch_map.values.requires_grad


@pytest.mark.parametrize(
    ("changes", "batch", "label", "message"),
    [
        ({}, 2, None, "one image"),
        ({}, 1, 5, "no class 5: the model knows 5"),
        ({}, 1, -1, "no class -1"),
        ({"num_classes": 0, "global_pool": "avg"}, 1, None, "num_classes is 0"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    make_model: MakeModel, images: Tensor, changes: dict[str, Any], batch: int, label: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        explain(make_model(**changes), images[:batch], label)


def made_pictures(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise with one patch of a colour that decides the class: images, labels, and where the patch is of 16."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 4, 4, 4, 4, generator=generator)  # (count, channel, row, column, y, x)
    labels, places = (torch.randint(0, high, (count,), generator=generator) for high in (3, 16))
    for image, label, place in zip(images, labels.tolist(), places.tolist(), strict=True):
        image[label, place // 4, place % 4] += 3
    return images.permute(0, 1, 2, 4, 3, 5).reshape(count, 3, 16, 16), labels, places


@pytest.fixture(scope="module")
def spotter() -> AssociativeTransformer:
    """A small model that has learned to find the coloured patch."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    memory = {"num_priors": 6, "prior_dim": 8, "num_heads": 2, "bottleneck": 12}
    model = AssociativeTransformer(
        16, 4, num_classes=3, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2.0, global_pool="flat", memory_args=memory
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(60):
        images, labels, _ = made_pictures(64, seed=step)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def test_the_map_finds_the_patch_that_decides(spotter: AssociativeTransformer) -> None:
    images, labels, places = made_pictures(50, seed=1000)
    with torch.no_grad():
        assert (spotter(images).argmax(1) == labels).double().mean() > 0.9
    found = [
        int(explained(spotter, image[None], int(label)).values.argmax())
        for image, label in zip(images, labels, strict=True)
    ]
    assert (torch.tensor(found) == places).double().mean() >= 0.9


def test_deleting_patches_in_the_maps_order_lowers_the_answer_first(spotter: AssociativeTransformer) -> None:
    """Deletion: the more a map says a patch matters, the sooner the class is lost without it."""
    images, labels, _ = made_pictures(50, seed=2000)
    maps = torch.stack(
        [explained(spotter, image[None], int(label)).values for image, label in zip(images, labels, strict=True)]
    )

    def kept(order: Tensor) -> float:
        """Mean probability of the class while the patches are deleted in an order, (50, 16)."""
        rank = order.argsort(1).view(-1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
        shares = []
        for deleted in range(1, 16, 3):
            with torch.no_grad():
                answer = spotter(images * (rank >= deleted)).softmax(1)
            shares.append(float(answer.gather(1, labels[:, None]).mean()))
        return sum(shares) / len(shares)

    flat = maps.flatten(1)
    order, chance = flat.argsort(1, descending=True), torch.rand(50, 16).argsort(1)
    assert kept(order) < kept(chance) - 0.1 < kept(flat.argsort(1)) - 0.2
