"""A layer of Luna is the equations of arXiv 2106.01540."""

import torch

from ait.baselines.luna import LunaLayer
from tests.support.models.attention_reference import attend, normalise, project


def test_a_layer_packs_and_unpacks() -> None:
    layer = LunaLayer(8, 2, 12)
    x, packed = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    tokens, sequence = layer(x, packed)
    for image in range(2):
        pack = attend(layer.pack, packed[image], x[image])
        unpacked = normalise(x[image] + attend(layer.unpack, x[image], pack), layer.norm1)
        hidden = torch.nn.functional.gelu(project(unpacked, layer.mlp.fc1.weight, layer.mlp.fc1.bias))
        expected = normalise(unpacked + project(hidden, layer.mlp.fc2.weight, layer.mlp.fc2.bias), layer.norm2)
        torch.testing.assert_close(tokens[image], expected)
        torch.testing.assert_close(sequence[image], normalise(packed[image] + pack, layer.norm_packed))
