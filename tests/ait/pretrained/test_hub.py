"""Pretrained weights that are not here are asked for once, briefly, and those that are here are not asked for."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants

from ait.pretrained import load_model
from ait.pretrained.hub import create_pretrained

NAME = "test_vit.r160_in1k"


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address at which nobody listens, and nothing downloaded."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", [NAME, "vit_tiny_patch16_224.augreg_in21k_ft_in1k"])
def test_a_hub_out_of_reach_is_named_with_the_remedy(name: str) -> None:
    """Of the second timm knows another file too, which it would read in a way of its own."""
    with pytest.raises(FileNotFoundError, match=r"vit.*not on this machine.*out of reach") as error:
        load_model(name)
    assert "127.0.0.1" in str(error.value)
    assert f"hf download timm/{name}" in str(error.value)


@pytest.mark.usefixtures("silent_hub")
def test_a_hub_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="out of reach"):
        create_pretrained(NAME, seconds=0.2, cache_dir=str(tmp_path))


@pytest.mark.usefixtures("silent_hub")
@pytest.mark.parametrize("name", [NAME, "vit_tiny_patch16_224.augreg_in21k_ft_in1k"])
def test_downloaded_weights_need_no_hub(name: str, tmp_path: Path) -> None:
    """A download cache as the hub's client lays it out."""
    from safetensors.torch import save_file

    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / f"models--timm--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    torch.manual_seed(5)
    kept = timm.create_model(name)
    save_file(kept.state_dict(), snapshot / "model.safetensors")
    loaded = create_pretrained(name, cache_dir=str(tmp_path))
    for name, value in kept.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_wrong_names_are_told_the_nearest() -> None:
    with pytest.raises(FileNotFoundError, match=r"did you mean 'resnet18'"):
        load_model("resnt18")
    with pytest.raises(FileNotFoundError, match=r"did you mean 'ait_tiny_patch4_32\.cifar10'"):
        load_model("ait_tiny_patch4_32.cifar")
    with pytest.raises(FileNotFoundError, match="no pretrained weights of it"):
        load_model("ait_base_patch16_224")
