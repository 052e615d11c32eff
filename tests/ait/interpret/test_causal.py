"""Taking a memory away tells what it does to the answers, and leaves the model as it was."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ait import AssociativeTransformer
from ait.interpret.causal import INTERVENTIONS, causal_report, describe_effects, disturbed_blocks, logits_under
from ait.memory.associative_head import AssociativeHead
from tests.ait.conftest import MakeModel


def accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(-1) == labels).double().mean())


def test_the_model_as_it_is_comes_first(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    model = make_model().eval()
    report = causal_report(model, images, labels, batch_size=3)
    logits = model(images)
    assert report.images == 8
    assert report.accuracy == pytest.approx(accuracy(logits, labels))
    assert report.loss == pytest.approx(float(F.cross_entropy(logits, labels).detach()), rel=1e-5)
    assert set(report.effects) == {"retrieval_off", "equal_priors", "shuffled_priors"}


def test_without_retrieval_it_is_the_model_whose_scale_is_zero(
    make_model: MakeModel, images: Tensor, labels: Tensor
) -> None:
    model, without = make_model().eval(), make_model().eval()
    for block in without.associative_blocks():
        nn.init.zeros_(block.workspace.ls.gamma)
    torch.testing.assert_close(logits_under(model, images, "retrieval_off"), without(images))
    expected = F.cross_entropy(without(images), labels, reduction="none").detach() - F.cross_entropy(
        model(images).detach(), labels, reduction="none"
    )
    effect = causal_report(model, images, labels).effects["retrieval_off"]
    assert effect.loss_change == pytest.approx(float(expected.mean()), abs=1e-5)
    assert effect.loss_interval == pytest.approx(1.96 * float(expected.std()) / 8**0.5, rel=1e-3)
    assert effect.loss_change == pytest.approx(effect.loss - causal_report(model, images, labels).loss, abs=1e-6)


def test_equal_priors_are_their_mean(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    model, equal = make_model().eval(), make_model().eval()
    for block in equal.associative_blocks():
        priors = block.workspace.memory.priors
        priors.copy_(priors.mean(0, keepdim=True).expand_as(priors))
    effect = causal_report(model, images, labels).effects["equal_priors"]
    assert effect.loss == pytest.approx(float(F.cross_entropy(equal(images), labels).detach()), rel=1e-5)
    # In a memory whose priors are equal already nothing is lost by making them so, or by shuffling them.
    for name in ("equal_priors", "shuffled_priors"):
        nothing = causal_report(equal, images, labels).effects[name]
        assert nothing.loss_change == pytest.approx(0, abs=1e-6)
        assert nothing.accuracy_change == 0


def test_shuffled_priors_answer_for_each_other(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    model = make_model({"beta": 30.0}).eval()
    report = causal_report(model, images, labels)
    assert abs(report.effects["shuffled_priors"].loss_change) > 1e-4


def test_a_memory_that_is_scaled_up_has_a_larger_norm(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    small, large = make_model({"scale": 1.0}), make_model({"scale": 5.0})
    (first, second), (five_times, _) = (causal_report(model, images, labels).norm_ratios for model in (small, large))
    assert five_times == pytest.approx(5 * first, rel=1e-4)
    assert 0 < second < 1


def test_an_associative_head_loses_everything_without_its_classes(
    make_model: MakeModel, images: Tensor, labels: Tensor
) -> None:
    model = make_model(head="associative", head_args={"num_priors": 2}).eval()
    head = model.get_classifier()
    assert isinstance(head, AssociativeHead)
    for label in range(5):
        head.forget(label)
        model.teach(label, images[labels == label])
    report = causal_report(model, images, labels)
    assert set(report.effects) == set(INTERVENTIONS)
    alone = make_model({"num_priors": 0}, memory="none", head="associative")
    assert set(causal_report(alone, images, labels).effects) == {
        "equal_classes",
        "shuffled_classes",
        "one_prior_a_class",
    }
    assert report.accuracy > 0.5
    # All classes tie: one answer in five is right by chance.
    assert report.effects["equal_classes"].accuracy == pytest.approx(0.2)
    assert report.effects["equal_classes"].loss == pytest.approx(math.log(5), rel=1e-5)
    # So few examples give all priors of a class the same.
    assert report.effects["one_prior_a_class"].loss_change == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("intervention", ["retrieval_off", "equal_priors", "shuffled_priors"])
def test_blocks_are_disturbed_for_a_while(make_model: MakeModel, images: Tensor, intervention: str) -> None:
    model = make_model().eval()
    with torch.no_grad():
        before = model(images)
        with disturbed_blocks(model, intervention):
            disturbed = model(images)
        torch.testing.assert_close(model(images), before)
    torch.testing.assert_close(disturbed, logits_under(model, images, intervention))
    assert not torch.allclose(disturbed, before)
    with pytest.raises(ValueError, match=r"on blocks; choose one of retrieval_off, "), disturbed_blocks(model, "head"):
        pass


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_nothing_is_left_behind(
    make_model: MakeModel, images: Tensor, labels: Tensor, training: bool, adaptive: bool
) -> None:
    model = make_model({"adaptive": adaptive}, head="associative").train(training)
    weight = model.head.weight
    before = {name: value.clone() for name, value in model.state_dict().items()}
    causal_report(model, images, labels)
    assert model.training == training
    assert model.head.weight is weight
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_cannot_be_measured_is_refused(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    other: AssociativeTransformer = nn.Linear(1, 1)  # type: ignore[assignment]  # what is to be refused
    with pytest.raises(TypeError, match="Linear"):
        causal_report(other, images, labels)
    without = make_model({"num_priors": 0}, memory="none")
    with pytest.raises(TypeError, match="no associative memory"):
        causal_report(without, images, labels)
    with pytest.raises(ValueError, match="retrieval_off"):
        logits_under(make_model(), images, "equal_classes")
    with pytest.raises(ValueError, match="8 and 7"):
        causal_report(make_model(), images, labels[:7])
    with pytest.raises(ValueError, match="0 and 0"):
        causal_report(make_model(), images[:0], labels[:0])


def test_it_can_be_read(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    lines = describe_effects(causal_report(make_model(), images, labels)).splitlines()
    assert [line.split("  ")[0].strip() or line.strip().split("  ")[0] for line in lines[1:5]] == [
        "as it is",
        "retrieval off",
        "equal priors",
        "shuffled priors",
    ]
    assert "±" in lines[2]
