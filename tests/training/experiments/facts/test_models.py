"""Models of factual recall, trained beside each other."""

import torch

from training.experiments.facts.fact_storage import held_facts
from training.experiments.facts.models import FactModels, train_models
from training.experiments.facts.task import FactTask

SMALL, LARGE = FactTask(4, 3, answers=5, noise=6, length=9), FactTask(6, 5, answers=8, noise=11, length=9)


def test_a_smaller_task_is_not_asked_what_it_lacks() -> None:
    models = FactModels([SMALL, LARGE], 8, 2, 4, 8)
    for _ in range(20):
        counts, answers = models.sample(50)
        assert counts.shape == (2, 50, 6 + 5 + 11 + 1)
        assert (counts.sum(-1) == 9).all()
        subject, relation, noise = counts[:, :, :6], counts[:, :, 6:11], counts[:, :, 11:22]
        assert (subject.sum(-1) == 1).all()
        assert (relation.sum(-1) == 1).all()
        assert (noise.sum(-1) == 6).all()
        assert (counts[..., 22] == 1).all()
        assert (answers // 8 == relation.argmax(-1)).all()
        assert torch.equal(answers, models.facts[torch.arange(2)[:, None], subject.argmax(-1), relation.argmax(-1)])
        small = counts[0]
        assert not small[:, 4:6].any()
        assert not small[:, 9:11].any()
        assert not small[:, 17:22].any()
    logits = models(counts).isfinite().all(1)
    assert logits[1].sum() == 40
    assert logits[0].view(5, 8)[:3, :5].all()
    assert logits[0].sum() == 15


def test_counts_are_attended_as_sequences_are() -> None:
    """Softmax attention over the tokens one by one, as the paper writes it."""
    models = FactModels([SMALL, SMALL], 16, 2, 4, 8).double()
    tokens = torch.tensor([2, 5, 7, 7, 9, 8, 12, 7, 13])
    counts = tokens.bincount(minlength=14).double().expand(2, 1, -1)
    first, bias, second = models.network
    for k in range(2):
        x = models.embedding[k, tokens]
        read = []
        for head in range(2):
            scores = (x @ models.key[k, head]) @ (x[-1] @ models.query[k, head]) / 4**0.5
            read.append(scores.softmax(0) @ (x @ models.value[k, head]))
        hidden = torch.cat(read) @ models.out[k]
        hidden = hidden + (hidden @ first[k] + bias[k, 0]).relu() @ second[k]
        torch.testing.assert_close(models(counts)[k, 0], hidden @ models.unembedding[k].mT)


def test_small_tasks_are_learned() -> None:
    models = FactModels([SMALL, SMALL], 32, 4, 8, 0)
    assert models.parameter_count == 4 * 32 * 32
    assert (models.recalled() < 0.7).all()
    assert (train_models(models, 750) >= 0.9).all()


def test_what_is_held_lies_between_the_last_that_is_and_the_next() -> None:
    assert held_facts([100, 200, 300], [1.0, 1.0, 0.98]) == 250
    assert held_facts([100, 200, 300], [1.0, 0.5, 0.4]) == 100 + 100 * 0.01 / 0.5
    assert held_facts([100, 200], [0.9, 0.8]) == 0
    assert held_facts([100, 200], [1.0, 1.0]) == 200
