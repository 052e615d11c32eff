"""Tokens that recall the same prior become one."""

import pytest
import torch
from torch import Tensor

from ait.latent import RecallMerge


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(2, 9, 16)


@pytest.mark.parametrize("compete", [True, False])
def test_merged_tokens_are_weighted_means_and_what_priors_hold(compete: bool, tokens: Tensor) -> None:
    merge = RecallMerge(16, 4, compete)
    shares = merge.shares(tokens)
    assert shares.shape == (2, 9, 4)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 4))
    torch.testing.assert_close(merge(tokens), torch.einsum("bnm,bne->bme", shares, tokens) + merge.values)
    constant = torch.ones(2, 9, 1) * torch.randn(2, 1, 16)
    torch.testing.assert_close(merge(constant), constant[:, :4] + merge.values)


@pytest.mark.parametrize("compete", [True, False])
def test_the_order_of_tokens_does_not_matter(compete: bool, tokens: Tensor) -> None:
    merge, order = RecallMerge(16, 4, compete), torch.randperm(9)
    torch.testing.assert_close(merge(tokens[:, order]), merge(tokens))


def test_competing_tokens_go_to_the_prior_that_they_recall() -> None:
    merge = RecallMerge(4, 4, compete=True)
    with torch.no_grad():
        merge.keys.copy_(100 * torch.eye(4))
        merge.values.zero_()
    tokens = torch.eye(4).repeat(2, 1) * torch.arange(1.0, 9.0).unsqueeze(1)  # token t and t + 4 are of one kind
    expected = (tokens[:4] + tokens[4:]) / 2
    torch.testing.assert_close(merge(tokens.unsqueeze(0))[0], expected)


def test_a_prior_that_no_token_recalls_still_gets_a_mean() -> None:
    merge = RecallMerge(4, 2, compete=True)
    with torch.no_grad():
        merge.keys.copy_(100 * torch.eye(4)[:2])
        merge.values.zero_()
    token = torch.eye(4)[:1].repeat(3, 1).unsqueeze(0)  # all are of the first prior's kind
    assert (merge.norm(token) @ merge.keys.mT).softmax(-1)[..., 1].max() == 0
    torch.testing.assert_close(merge(token), token[:, :2])


def test_without_competition_each_prior_reads_what_scores_highest() -> None:
    merge = RecallMerge(4, 2)
    with torch.no_grad():
        merge.keys.copy_(100 * torch.eye(4)[[0, 0]])
        merge.values.copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
    tokens = torch.eye(4).unsqueeze(0)
    torch.testing.assert_close(merge(tokens)[0], torch.eye(4)[[0, 0]] + merge.values)


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0)])
def test_sizes_below_one_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RecallMerge(*sizes)
