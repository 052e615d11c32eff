"""Parts of the experiments on scaling laws."""

import pytest
import torch

from ait.memory.storage import storage_strength, zipf
from training.experiments.scaling.embeddings import association_map
from training.experiments.scaling.setting import OUTPUTS, embeddings, error, targets
from training.experiments.scaling.storage_samples import count_samples, unlimited_error
from training.experiments.scaling.storage_strength import crowded_strengths, step_strengths
from training.experiments.scaling.storage_width import weights


def test_embeddings_have_the_papers_lengths() -> None:
    keys, outputs = embeddings(20, 50, 64, torch.Generator().manual_seed(0))
    assert abs(float(keys.square().sum(-1).mean()) - 1) < 0.05
    torch.testing.assert_close(outputs.norm(dim=-1), torch.ones(20, OUTPUTS))
    assert targets(7).tolist() == [0, 1, 2, 3, 4, 0, 1]


def test_few_associations_in_a_wide_memory_are_recalled() -> None:
    keys, outputs = embeddings(4, 10, 2000, torch.Generator().manual_seed(0))
    assert error(keys, outputs, torch.ones(10), zipf(10, 1.0)) == 0
    assert error(keys, outputs, torch.zeros(10), zipf(10, 1.0)) == pytest.approx(0.8)


def test_schemes_by_name() -> None:
    p = zipf(20, 2.0)
    assert weights("threshold", p, 32).sum() == 4
    torch.testing.assert_close(weights("q = √p", p, 32).square(), weights("q = p", p, 32))
    assert (weights("q = 1", p, 32) == 1).all()


def test_samples_are_counted() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = count_samples(zipf(30, 1.0), 500, 6, generator)
    assert (counts.sum(1) == 500).all()
    assert unlimited_error(zipf(30, 1.0), 100_000, 2, generator) < 1e-3


def test_interference_alone_parts_a_narrow_memory_from_the_curve() -> None:
    exact = storage_strength(1.0, OUTPUTS, 40, centred=True)
    torch.testing.assert_close(step_strengths(1.0, 40), exact)
    counts, margins = crowded_strengths(1.0, 2000, 40, 0)
    seen = counts > 0
    torch.testing.assert_close(margins[seen], exact[counts[seen]], rtol=0.3, atol=0.3)


def test_frequent_inputs_are_surer_where_storage_is_by_frequency() -> None:
    grid = association_map(1.0, 0)
    torch.testing.assert_close(grid.sum(1), torch.ones(10))
    assert grid[0, 0] > grid[9, 4]
