"""Outer-product storage against closed forms."""

import math

import pytest
import torch

from ait.memory.storage import (
    recall_error,
    recall_scores,
    sample_exponent,
    storage_strength,
    storage_weights,
    store,
    unseen_error,
    width_exponent,
    zipf,
)


@pytest.fixture
def generator() -> torch.Generator:
    """Random numbers, the same in every test."""
    return torch.Generator().manual_seed(0)


TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.5])
def test_zipf_probabilities_fall_by_the_power(exponent: float) -> None:
    p = zipf(50, exponent)
    assert p.sum() == pytest.approx(1)
    assert float(p[9] / p[0]) == pytest.approx(10**-exponent)


def test_schemes() -> None:
    counts = torch.tensor([9.0, 4.0, 0.0, 1.0])
    assert storage_weights(counts, power=0).tolist() == [1, 1, 0, 1]
    assert storage_weights(counts, power=0.5).tolist() == [3, 2, 0, 1]
    assert storage_weights(counts, "threshold", kept=3).tolist() == [1, 1, 0, 0]
    for arguments in ({"power": -1.0}, {"scheme": "threshold"}, {"scheme": "none"}):
        with pytest.raises(ValueError, match=r"power|kept|scheme"):
            storage_weights(counts, **arguments)


def test_orthonormal_embeddings_return_the_weights(generator: torch.Generator) -> None:
    weights = torch.rand(6, generator=generator, dtype=torch.float64)
    keys = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))[0][:6]
    outputs = torch.eye(3, dtype=torch.float64)
    scores = recall_scores(keys, store(keys, outputs, TARGETS, weights), outputs)
    expected = weights[:, None] * torch.nn.functional.one_hot(TARGETS, 3)
    torch.testing.assert_close(scores, expected)
    assert recall_error(scores, TARGETS, zipf(6, 1)) == 0


def test_memories_of_a_batch_do_not_know_each_other(generator: torch.Generator) -> None:
    keys = torch.randn(4, 6, 5, generator=generator)
    outputs = torch.randn(4, 3, 5, generator=generator)
    weights = torch.rand(4, 6, generator=generator)
    together = recall_scores(keys, store(keys, outputs, TARGETS, weights), outputs)
    for i in range(4):
        alone = recall_scores(keys[i], store(keys[i], outputs[i], TARGETS, weights[i]), outputs[i])
        torch.testing.assert_close(together[i], alone)


def test_errors_weigh_inputs_and_count_ties_as_guesses() -> None:
    scores = torch.zeros(6, 3)
    scores[0, 0] = scores[1, 0] = 1.0  # right, wrong; the others are guesses
    p = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.05, 0.05], dtype=torch.float64)
    assert float(recall_error(scores, TARGETS, p)) == pytest.approx(0.2 + 0.3 * 2 / 3)


@pytest.mark.parametrize("samples", [0, 3, 50])
def test_an_unlimited_memory_errs_on_what_it_never_saw(samples: int, generator: torch.Generator) -> None:
    p = zipf(6, 1.0)
    drawn = torch.multinomial(p.expand(20_000, -1), max(samples, 1), replacement=True, generator=generator)
    counts = torch.zeros(20_000, 6).scatter_add_(1, drawn[:, :samples], torch.ones(20_000, samples))
    scores = counts[..., None] * torch.nn.functional.one_hot(TARGETS, 3)
    measured = recall_error(scores, TARGETS, p).mean()
    assert float(measured) == pytest.approx(float(unseen_error(p, samples, 3)), rel=0.05, abs=1e-3)


def test_laws() -> None:
    assert width_exponent(2.0) == -0.25
    assert width_exponent(2.0, power=0.5) == -0.5
    assert width_exponent(1.5, "threshold") == -0.5
    assert sample_exponent(2.0) == -0.5
    for call in (lambda: width_exponent(1.0), lambda: width_exponent(2, "power", 0), lambda: sample_exponent(1)):
        with pytest.raises(ValueError, match=r"law|above 1"):
            call()


@pytest.mark.parametrize("rate", [0.01, 1.0, 10.0])
def test_the_centred_curve_is_what_gradient_steps_do(rate: float) -> None:
    logits = torch.zeros(4, dtype=torch.float64)
    right = torch.eye(4, dtype=torch.float64)[0]
    margins = []
    for _ in range(20):
        margins.append(float(logits[0] - logits[1]))
        logits = logits + rate * (right - logits.softmax(-1))
    curve = storage_strength(rate, 4, 19, centred=True)
    torch.testing.assert_close(torch.tensor(margins, dtype=torch.float64), curve)
    assert (storage_strength(rate, 4, 19)[1:] <= curve[1:]).all()
    assert (curve.diff() > 0).all()


def test_the_curve_grows_like_the_logarithm() -> None:
    """For small steps ``dq/dt = 1 / (1 + e^q / (M - 1))``, so that ``q + e^q / (M - 1)`` grows by the rate a step."""
    curve = storage_strength(0.01, 6, 10_000)
    invariant = curve + curve.exp() / 5
    assert float(invariant[-1] - invariant[0]) == pytest.approx(100, rel=0.01)
    assert float(curve[-1]) == pytest.approx(math.log(5 * 100), rel=0.05)
