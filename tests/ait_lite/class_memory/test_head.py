"""A memory that begins as the associative head of a model answers as the head does."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from ait.export import export_serving
from ait.memory.associative_head import AssociativeHead
from ait_lite.checkpoint import CONFIG, HEAD, WEIGHTS, CheckpointError, bundled_models
from ait_lite.class_memory import memory_of_head
from tests.support.images.training_images import CLASSES
from tests.support.models.small_checkpoints import save_small_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "associative"
    return save_small_checkpoint(folder, name="ait_tiny_patch4_32", head="associative")


def head_of(checkpoint: Path) -> AssociativeHead:
    head = timm.create_model(f"local-dir:{checkpoint}", pretrained=True).eval().head
    assert isinstance(head, AssociativeHead)
    return head


def test_it_answers_as_the_head_does(checkpoint: Path) -> None:
    head, memory = head_of(checkpoint), memory_of_head(checkpoint)
    queries = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = head(queries).softmax(-1)
    assert (memory.readout, memory.beta) == ("associative", pytest.approx(head.beta().item()))
    assert memory.counts == dict.fromkeys(sorted(CLASSES), head.num_priors)
    found = memory.scores(queries.numpy())[:, [memory.labels.index(label) for label in CLASSES]]
    torch.testing.assert_close(torch.from_numpy(found).float(), expected, atol=1e-3, rtol=0)
    assert not any(answer.unknown for answer in memory.recall(queries.numpy()))


def test_a_class_that_is_taught_has_the_share_of_a_class_whatever_it_was_taught_with(checkpoint: Path) -> None:
    memory = memory_of_head(checkpoint)
    queries = torch.randn(5, 16, generator=torch.Generator().manual_seed(2)).numpy()
    new = torch.randn(1, 16, generator=torch.Generator().manual_seed(3)).repeat(9, 1).numpy()
    memory.write(["once"], new[:1], ["new"])
    once = memory.scores(queries)
    memory.write([f"again {number}" for number in range(9)], new, ["new"] * 9)
    torch.testing.assert_close(torch.from_numpy(memory.scores(queries)), torch.from_numpy(once), atol=1e-6, rtol=0)
    assert memory.recall(new[:1])[0].label == "new"


def test_a_class_that_holds_nothing_is_left_out(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "emptied")
    tensors = load_file(checkpoint / WEIGHTS)
    tensors["head.weight"][4:8] = 0
    save_file(tensors, tmp_path / "emptied" / WEIGHTS)
    assert memory_of_head(tmp_path / "emptied").labels == tuple(sorted(set(CLASSES) - {CLASSES[1]}))


def test_a_prepared_model_has_the_priors_too(checkpoint: Path, tmp_path: Path) -> None:
    model = timm.create_model(f"local-dir:{checkpoint}", pretrained=True).eval()
    export_serving(model, checkpoint, tmp_path / "prepared", int8=False)
    assert not (tmp_path / "prepared" / WEIGHTS).exists()
    assert memory_of_head(tmp_path / "prepared").to_bytes() == memory_of_head(checkpoint).to_bytes()
    (tmp_path / "prepared" / HEAD).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=rf"{HEAD} cannot be read"):
        memory_of_head(tmp_path / "prepared")
    (tmp_path / "prepared" / HEAD).unlink()
    with pytest.raises(CheckpointError, match="prepared before priors were kept"):
        memory_of_head(tmp_path / "prepared")


def test_the_bundled_model_has_them_where_its_weights_are_left_out(tmp_path: Path) -> None:
    bundled = bundled_models()["ait_tiny_patch4_32.cifar10"]
    for name in (CONFIG, HEAD):
        shutil.copyfile(bundled / name, tmp_path / name)
    assert memory_of_head(tmp_path).to_bytes() == memory_of_head(bundled).to_bytes()


def test_other_heads_have_no_memory(checkpoint: Path, tmp_path: Path) -> None:
    linear = save_small_checkpoint(tmp_path / "linear")
    with pytest.raises(CheckpointError, match="linear has no associative head"):
        memory_of_head(linear)
    tensors = load_file(checkpoint / WEIGHTS)
    shutil.copytree(checkpoint, tmp_path / "unfit")
    save_file(tensors | {"head.weight": tensors["head.weight"][:5]}, tmp_path / "unfit" / WEIGHTS)
    with pytest.raises(CheckpointError, match="does not fit its configuration"):
        memory_of_head(tmp_path / "unfit")
