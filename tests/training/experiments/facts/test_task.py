"""The task of factual recall, and its model."""

import math

import torch
import torch.nn.functional as F

from training.experiments.facts.sequential_learning import TASK, learn, measure
from training.experiments.facts.task import FactTask

SMALL = FactTask(4, 3, answers=5, noise=6, length=9)


def test_facts_lie_in_the_block_of_their_relation() -> None:
    for facts in (SMALL.facts(torch.Generator().manual_seed(0)), SMALL.ordered_facts()):
        assert facts.shape == (4, 3)
        assert ((facts // 5) == torch.arange(3)).all()
    assert FactTask(16, 4).ordered_facts()[:4].tolist() == [[0, 8, 16, 24]] * 2 + [[1, 9, 17, 25]] * 2


def test_sequences_name_one_subject_and_one_relation() -> None:
    generator = torch.Generator().manual_seed(0)
    facts = SMALL.facts(generator)
    counts, answers = SMALL.sample(50, facts, generator)
    assert (counts.sum(1) == 9).all()
    subjects, relations, noise = counts[:, :4], counts[:, 4:7], counts[:, 7:13]
    assert (subjects.sum(1) == 1).all()
    assert (relations.sum(1) == 1).all()
    assert (noise.sum(1) == 6).all()
    assert (counts[:, 13] == 1).all()
    assert torch.equal(facts[subjects.argmax(1), relations.argmax(1)], answers)


def test_losses_of_relation_and_subject_add_up_for_independent_answers() -> None:
    relation, place = torch.randn(6, TASK.relations), torch.randn(6, TASK.answers)
    logits = (relation.unsqueeze(2) + place.unsqueeze(1)).flatten(1)
    answers = torch.randint(TASK.outputs, (6,))
    found = measure(logits, answers)
    assert math.isclose(found["loss"], found["relation loss"] + found["subject loss"], rel_tol=1e-5)
    assert math.isclose(found["loss"], float(F.cross_entropy(logits, answers)), rel_tol=1e-5)


def test_learning_starts_from_ignorance() -> None:
    curves = learn(TASK.ordered_facts(), 64, 0)
    assert abs(curves["loss"][0] - math.log(32)) < 1e-3
    assert curves["loss"][-1] < curves["loss"][0] + 1e-4
    assert len(curves["loss"]) == 3
