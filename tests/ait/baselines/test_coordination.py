"""The shared workspace is the equations of arXiv 2103.01197."""

import pytest
import timm
import torch
from torch import Tensor

from ait.baselines.coordination import Coordination, CoordinationLayer
from ait.baselines.shared_workspace import SharedWorkspace
from tests.support.models.attention_reference import attend, normalise, project


def write(workspace: SharedWorkspace, tokens: Tensor, slots: Tensor) -> Tensor:
    """New slots (S, E) of one image, one slot after another."""
    candidates = project(tokens, workspace.project.weight, workspace.project.bias)
    written = normalise(slots + attend(workspace.write, slots, candidates), workspace.norm1)
    mlp = torch.clamp(project(written, workspace.mlp.weight, workspace.mlp.bias), min=0)
    written = normalise(written + mlp, workspace.norm2)
    gates = workspace.gates
    summary = torch.clamp(gates.token_scale * candidates, min=0).mean(0)
    summary = gates.token_proj.weight @ summary + gates.token_proj.bias
    width = slots.shape[1]
    result = []
    for number, slot in enumerate(slots):
        both = torch.tanh(slot) @ gates.slot_weight[number] + summary
        gate_in, forget = 1 / (1 + torch.exp(-both[:width])), 1 / (1 + torch.exp(-both[width:] - 1))
        result.append(gate_in * torch.tanh(written[number]) + forget * slot)
    return torch.stack(result)


@pytest.mark.parametrize("top_k", [None, 2])
def test_tokens_write_and_read_slots(top_k: int | None) -> None:
    workspace = SharedWorkspace(8, 2, num_slots=3, top_k=top_k)
    torch.nn.init.normal_(workspace.gates.token_scale)
    tokens, slots = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    heard, written = workspace(tokens, slots)
    for image in range(2):
        expected = write(workspace, tokens[image], slots[image])
        torch.testing.assert_close(written[image], expected)
        torch.testing.assert_close(heard[image], attend(workspace.broadcast, tokens[image], expected))


def test_shared_layers_pass_their_slots_on() -> None:
    model = Coordination(8, 4, num_classes=3, embed_dim=8, depth=3, num_heads=2, num_slots=3, top_k=2).eval()
    images = torch.randn(2, 3, 8, 8)
    (layer,) = model.encoder.layers
    tokens, slots = model.patch_embed(images)[1], torch.eye(3, 8)
    for _ in range(3):
        slots = write(layer.workspace, tokens, slots)
        tokens = normalise(tokens + attend(layer.workspace.broadcast, tokens, slots), layer.norm1)
        hidden = torch.clamp(project(tokens, layer.mlp.fc1.weight, layer.mlp.fc1.bias), min=0)
        tokens = normalise(tokens + project(hidden, layer.mlp.fc2.weight, layer.mlp.fc2.bias), layer.norm2)
    torch.testing.assert_close(model.forward_features(images)[1], tokens)


@pytest.mark.parametrize(("communication", "top_k"), [("self", None), ("self", 2), ("induced", None)])
def test_companions_attend_to_each_other(communication: str, top_k: int | None) -> None:
    layer = CoordinationLayer(8, 2, 12, communication, 3, top_k)
    x = torch.randn(2, 5, 8)
    found, slots = layer(x, None)
    assert slots is None
    heard = layer.attn(x, x) if layer.attn is not None else layer.induced(x)
    first = normalise(x + heard, layer.norm1)
    torch.testing.assert_close(found, normalise(first + layer.mlp(first), layer.norm2))


def test_layers_of_their_own_weights_are_as_many() -> None:
    assert len(Coordination(8, 4, embed_dim=8, num_heads=2, share=False).encoder.layers) == 4


@pytest.mark.parametrize(
    ("variant", "width", "times", "layers", "communication", "top_k"),
    [
        ("", 256, 4, 1, "workspace", 20),
        ("soft_", 256, 4, 1, "workspace", None),
        ("d_", 256, 8, 1, "workspace", 20),
        ("h_", 512, 4, 1, "workspace", 20),
        ("dh_", 512, 8, 1, "workspace", 20),
        ("tr_", 256, 4, 1, "self", None),
        ("str_", 256, 4, 1, "self", 20),
        ("tr_hc_", 256, 4, 4, "self", None),
        ("isab_", 256, 4, 1, "induced", None),
    ],
)
def test_variants_and_companions_are_what_their_papers_name(
    variant: str, width: int, times: int, layers: int, communication: str, top_k: int | None
) -> None:
    with torch.device("meta"):
        model = timm.create_model(f"coordination_{variant}patch4_32")
    encoder = model.encoder
    assert (model.num_features, encoder.depth, len(encoder.layers)) == (width, times, layers)
    for layer in encoder.layers:
        parts = {"workspace": layer.workspace, "self": layer.attn, "induced": layer.induced}
        assert [name for name, part in parts.items() if part is not None] == [communication]
        assert layer.mlp.fc1.out_features == 2 * width
        if communication == "workspace":
            assert (len(layer.workspace.start), layer.workspace.write.num_heads) == (8, 4)
            assert layer.workspace.write.top_k == top_k
        elif communication == "self":
            assert (layer.attn.num_heads, layer.attn.top_k) == (4, top_k)


def test_unknown_communication_is_refused() -> None:
    with pytest.raises(ValueError, match="workspace"):
        Coordination(8, 4, communication="telepathy")
