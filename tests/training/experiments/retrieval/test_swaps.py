"""Swaps by constructed and by learned keys."""

import torch

from training.experiments.retrieval.swaps import (
    LENGTH,
    PAIRS,
    PLACES,
    DeltaTracker,
    SoftmaxTracker,
    swap_error,
    swap_sequences,
    train,
)


def test_rounding_keeps_swaps_exact_where_keys_are_near_orthogonal() -> None:
    assert swap_error("round", 16, 1024, 64, seed=0) < 1e-9
    assert swap_error("linear", 16, 1024, 64, seed=0) > 0.05
    assert swap_error("round", 64, 16, 64, seed=0) > 0.1


def test_answers_follow_the_swaps() -> None:
    tokens, answers = swap_sequences(50, torch.Generator().manual_seed(0))
    for sequence, expected in zip(tokens.tolist(), answers.tolist(), strict=True):
        place = list(range(PLACES))
        for token, answer in zip(sequence, expected, strict=True):
            i, j = PAIRS[token]
            place[i], place[j] = place[j], place[i]
            assert place[0] == answer


def test_a_delta_layer_with_the_right_keys_tracks_every_swap() -> None:
    model = DeltaTracker(dim=PLACES)
    identity = torch.eye(PLACES)
    with torch.no_grad():
        model.keys.copy_(torch.cat([identity, torch.stack([identity[i] - identity[j] for i, j in PAIRS])]))
        model.values.copy_(torch.cat([identity, torch.zeros(len(PAIRS), PLACES)]))
        model.query.copy_(identity[0])
        model.head.weight.copy_(identity)
        model.head.bias.zero_()
    tokens, answers = swap_sequences(200, torch.Generator().manual_seed(1))
    assert (model(tokens).argmax(-1) == answers).all()


def test_trackers_train() -> None:
    for model in (DeltaTracker(), SoftmaxTracker(dim=16, layers=1)):
        before = [parameter.clone() for parameter in model.parameters()]
        accuracy = train(model, steps=2, seed=0, rate=1e-3)
        assert accuracy.shape == (LENGTH,)
        assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
