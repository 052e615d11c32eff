"""Questions are tokens: what reads what, and every model learns."""

import pytest
import torch

from training.data import generate_sort_of_clevr
from training.experiments.relational.model import MODELS, RelationalModel, one_way_mask

SMALL = {"dim": 16, "depth": 2, "num_heads": 2}


def make(kind: str, **changes: object) -> RelationalModel:
    torch.manual_seed(0)
    return RelationalModel(kind, **{**SMALL, **changes}).eval()


def test_all_read_the_image_and_a_question_itself() -> None:
    mask = one_way_mask(2, 4, torch.device("cpu"))
    assert mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_answers_do_not_depend_on_what_else_is_asked(kind: str, mutual: bool) -> None:
    if kind == "ait-delta" and not mutual:
        with pytest.raises(ValueError, match="mutual"):
            make(kind)
        return
    model = make(kind, mutual=mutual, patch_size=15)
    data = generate_sort_of_clevr(3, 0)
    images, questions = data.images / 255, data.questions
    logits, balance = model(images, questions[:, :4])
    assert logits.shape == (3, 4, 10)
    assert balance == 0
    alone, _ = model(images[1:2], questions[1:2, 2:3])
    torch.testing.assert_close(alone[0, 0], logits[1, 2])
    other, _ = model(images[1:2], questions[1:2, 5:6])
    assert not torch.allclose(other[0, 0], logits[1, 2])


@pytest.mark.parametrize("kind", ["ait", "vit", "coordination"])
def test_every_parameter_learns(kind: str) -> None:
    model = make(kind).train()
    data = generate_sort_of_clevr(2, 0)
    logits, balance = model(data.images / 255, data.questions[:, :3])
    (logits.square().sum() + balance).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="vit"):
        make("rnn")
    with pytest.raises(ValueError, match="tile"):
        make("vit", patch_size=4)
