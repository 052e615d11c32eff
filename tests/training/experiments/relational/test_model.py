"""Questions are tokens: what reads what, and every model learns."""

import pytest
import torch

from ait.interpret.causal import disturbed_blocks
from training.data import generate_sort_of_clevr
from training.experiments.relational.model import MODELS, QuestionWorkspace, RelationalModel, one_way_mask

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
    if (kind, mutual) in (("ait-delta", False), ("workspace", True)):
        with pytest.raises(ValueError, match="mutual"):
            make(kind, mutual=mutual)
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


@pytest.mark.parametrize("kind", ["ait", "vit", "workspace", "coordination"])
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


@pytest.mark.parametrize(("kind", "mutual"), [("ait", False), ("ait", True), ("workspace", False)])
def test_a_memory_that_is_disturbed_answers_otherwise(kind: str, mutual: bool) -> None:
    model = make(kind, mutual=mutual)
    assert model.has_memory()
    assert len(model.associative_blocks()) == (2 if kind == "ait" else 0)
    data = generate_sort_of_clevr(2, 0)
    with torch.no_grad():
        before, _ = model(data.images / 255, data.questions)
        for intervention in ("retrieval_off", "equal_priors", "shuffled_priors"):
            with disturbed_blocks(model, intervention):
                disturbed, _ = model(data.images / 255, data.questions)
            assert not torch.allclose(disturbed, before)
        after, _ = model(data.images / 255, data.questions)
    torch.testing.assert_close(after, before)
    assert not make("vit").has_memory()


def test_a_workspace_reads_the_image_anew_in_every_pass() -> None:
    """By a plain reference of its passes; questions read the latent tokens, which read none."""
    model = make("workspace")
    workspace = model.blocks[-1]
    assert isinstance(workspace, QuestionWorkspace)
    x = torch.randn(2, 25 + 3, 16)
    with torch.no_grad():
        found = workspace(x)
        latent, asked = torch.zeros(2, 16, 16), x[:, 25:]
        for merge in workspace.merges:
            latent = latent + merge(x[:, :25])
            alone = [workspace.block(torch.cat([latent, one], 1))[:, 16:] for one in asked.split(1, 1)]
            latent, asked = workspace.block(latent), torch.cat(alone, 1)
    assert found.shape == (2, 16 + 3, 16)
    torch.testing.assert_close(found, torch.cat([latent, asked], 1))


def test_memories_have_names() -> None:
    data = generate_sort_of_clevr(2, 0)
    with torch.no_grad():
        own, published = (
            make("ait", memory=name)(data.images / 255, data.questions)[0] for name in ("orthogonal", "published")
        )
    assert not torch.allclose(own, published)
    with pytest.raises(ValueError, match="Unknown memory 'publish'"):
        make("ait", memory="publish")
