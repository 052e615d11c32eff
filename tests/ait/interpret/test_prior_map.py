"""Priors against classes, and accuracy without them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ait.interpret.draw import draw_prior_map
from ait.interpret.memory_report import memory_report
from ait.interpret.prior_map import prior_map
from tests.ait.conftest import CLASSES, MakeModel

LABELS = torch.arange(8) % CLASSES


def test_shares_are_those_of_the_recall(make_model: MakeModel, images: Tensor) -> None:
    model = make_model()
    found = prior_map(model, images, LABELS, CLASSES, batch_size=3)
    assert found.shares.shape == (2, 6, CLASSES)
    torch.testing.assert_close(found.shares.sum(-1), torch.ones(2, 6))
    for index, block in enumerate(memory_report(model, images)):
        recall = block.recall.mean(1)  # (B, M)
        torch.testing.assert_close(found.usage[index], recall.mean(0))
        by_class = torch.stack([recall[label == LABELS].mean(0) for label in range(CLASSES)], dim=1)
        torch.testing.assert_close(found.shares[index], by_class / by_class.sum(1, keepdim=True))


def test_accuracy_is_the_models_and_the_model_stays_as_it_was(make_model: MakeModel, images: Tensor) -> None:
    model = make_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = prior_map(model, images, LABELS, CLASSES)
    assert model.training
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    with torch.no_grad():
        expected = float((model.eval()(images).argmax(-1) == LABELS).float().mean())
    assert found.accuracy == pytest.approx(expected)
    assert found.kept == [0, 1, 2, 4, 6]
    assert found.by_width[-1] == found.accuracy


def test_without_priors_nothing_is_retrieved(make_model: MakeModel, images: Tensor) -> None:
    model = make_model().eval()
    found = prior_map(model, images, LABELS, CLASSES)
    with torch.no_grad():
        for block in model.associative_blocks():
            block.workspace.retrieval.proj.weight.zero_()
        assert found.by_width[0] == float((model(images).argmax(-1) == LABELS).float().mean())
    silent = prior_map(model, images, LABELS, CLASSES)
    assert (silent.without == silent.accuracy).all()
    assert silent.largest_drop == 0


def test_it_is_drawn_and_summed_up(make_model: MakeModel, images: Tensor, tmp_path: Path) -> None:
    found = prior_map(make_model(), images, LABELS, CLASSES)
    draw_prior_map(found, tmp_path / "map.png", list("abcde"))
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert f"accuracy {found.accuracy:.1%}" in found.summary()


def test_what_cannot_be_mapped_is_refused(make_model: MakeModel, images: Tensor) -> None:
    with pytest.raises(TypeError, match="memory"):
        prior_map(nn.Linear(2, 2), images, LABELS, CLASSES)
    with pytest.raises(ValueError, match="labels"):
        prior_map(make_model(), images, LABELS[:3], CLASSES)
