"""The Perceiver's positions and blocks are those of arXiv 2103.03206."""

import math

import pytest
import torch

from ait.baselines.perceiver import LatentBlock, Perceiver, fourier_positions
from tests.support.models.attention_reference import attend, normalise, project


def test_positions_are_sines_of_the_place() -> None:
    found = fourier_positions((3, 5), num_bands=4, max_frequency=8.0)
    assert found.shape == (15, 18)
    for row in range(3):
        for column in range(5):
            expected = []
            for place in (-1 + row, -1 + column / 2):
                angles = [math.pi * place * frequency for frequency in (1, 2, 3, 4)]
                expected += [*map(math.sin, angles), *map(math.cos, angles), place]
            torch.testing.assert_close(found[5 * row + column], torch.tensor(expected))


@pytest.mark.parametrize("source_dim", [None, 6])
def test_a_block_is_attention_and_a_gated_network(source_dim: int | None) -> None:
    block = LatentBlock(8, 2, 3, source_dim)
    latents, source = torch.randn(2, 4, 8), torch.randn(2, 5, 6)
    found = block(latents, source if source_dim else None)
    for image in range(2):
        rows = normalise(latents[image], block.norm1)
        read = rows if block.norm_source is None else normalise(source[image], block.norm_source)
        hidden = latents[image] + attend(block.attn, rows, read)
        wide = project(normalise(hidden, block.norm2), block.mlp.fc1.weight, block.mlp.fc1.bias)
        value, gate = wide.chunk(2, dim=-1)
        gated = value * torch.nn.functional.gelu(gate)
        expected = hidden + project(gated, block.mlp.fc2.weight, block.mlp.fc2.bias)
        torch.testing.assert_close(found[image], expected)


def test_readings_share_weights_from_the_second_on() -> None:
    sizes = {"num_classes": 3, "embed_dim": 8, "num_latents": 4, "num_heads": 2, "head_dim": 4}
    shared = Perceiver(8, 2, depth=4, share=True, **sizes).eval()
    assert len(shared.layers) == 2
    apart = Perceiver(8, 2, depth=4, **sizes).eval()
    weights = shared.state_dict()
    for number in (2, 3):
        weights |= {
            name.replace("layers.1.", f"layers.{number}."): value
            for name, value in shared.state_dict().items()
            if name.startswith("layers.1.")
        }
    apart.load_state_dict(weights)
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(shared(images), apart(images))


def test_every_pixel_is_read_where_it_is() -> None:
    """The latents are a function of the set of (pixels, position)."""
    model = Perceiver(8, 4, num_classes=3, embed_dim=8, num_latents=4, depth=1, num_heads=2, head_dim=4).eval()
    image = torch.zeros(1, 3, 8, 8)
    image[0, 1, 5, 2] = 1.0
    patch = model.patches(image).flatten(2).mT[0]
    assert patch.nonzero().tolist() == [[2, 16 + 4 * 1 + 2]]  # second row, first column; channel, row, column within


def test_patches_that_do_not_tile_are_refused() -> None:
    with pytest.raises(ValueError, match="tile"):
        Perceiver(10, 4)
