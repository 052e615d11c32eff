"""Maps of the write attention's gates."""

import timm
import torch

import ait  # noqa: F401  # registers the ait_* models
from ait.associative_model import AssociativeModel
from ait.interpret.memory_report import trace_queries
from ait.interpret.write_map import write_maps


def test_maps_are_the_gates_of_a_write() -> None:
    sizes = {"img_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 3}
    memory = {"num_priors": 5, "prior_dim": 4, "num_heads": 3, "bottleneck": 7}
    model = timm.create_model("ait_tiny_patch4_32", memory_args=memory, **sizes).eval()
    assert isinstance(model, AssociativeModel)
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = write_maps(model, images)
    assert maps.shape == (2, 5, 3, 16)
    torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(2, 5))
    assert ((maps > 0).flatten(2).sum(-1) <= 3 * 7).all()
    for found, block, tokens in zip(
        maps, model.associative_blocks(), trace_queries(model, images).queries, strict=True
    ):
        # One head's gates over values of the tokens themselves are what it reads.
        gates = block.workspace.write_attn.gates(block.workspace.memory.priors, tokens.flatten(0, 1))
        dense = torch.zeros(3, 5, 48).scatter_add(2, gates.winners, gates.weights)
        torch.testing.assert_close(found.flatten(1), dense.mean(0))
