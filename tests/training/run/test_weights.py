"""Images count in the loss as their weights say."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.support.processes.training_runs import MakeRecipe
from training.data import BatchTransform, Preprocessing
from training.errors import DataError
from training.recipe.keys import AugmentRecipe
from training.run.trainer import train
from training.storage.state_file import load_state


def write_table(root: Path, name: str, weights: dict[str, float]) -> Path:
    """A table of the training images, where `weights` are by class."""
    files = sorted((root / "train").rglob("*.png")) + sorted((root / "test").rglob("*.png"))
    rows = [
        f"{file.relative_to(root)},{file.parent.name},{weights.get(file.parent.name, 1)},"
        f"{'train' if 'train' in file.parts else 'val'}"
        for file in files
    ]
    table = root / name
    table.write_text("path,label,weight,split\n" + "\n".join(rows) + "\n")
    return table


@pytest.fixture
def root(tmp_path: Path, data_root: Path) -> Path:
    """The images, in a folder to write into."""
    for split in ("train", "test"):
        (tmp_path / split).symlink_to(data_root / split)
    return tmp_path


def weights_after(table: Path, make_recipe: MakeRecipe, cache: Path, quiet: Console) -> dict[str, torch.Tensor]:
    recipe = make_recipe(
        data={"source": "table", "root": str(table), "cache": str(cache), "workers": 0},
        output=str(table.with_suffix("")),
        augment={"crop_padding": 0, "mixup": 0.2},
        epochs=1,
        accumulate=2,
    )
    train(recipe, console=quiet)
    return load_state(recipe.output / "last" / "state.safetensors")[0]


def test_a_scale_changes_nothing_and_a_weight_does(
    root: Path, make_recipe: MakeRecipe, cache: Path, quiet: Console
) -> None:
    even, scaled, uneven = (
        weights_after(write_table(root, f"{name}.csv", weights), make_recipe, cache, quiet)
        for name, weights in (
            ("even", {}),
            ("scaled", {"ant": 4, "bee": 4, "cat": 4}),
            ("uneven", {"ant": 0, "bee": 3}),
        )
    )
    name = "model.head.weight"
    assert torch.equal(even[name], scaled[name])
    assert not torch.equal(even[name], uneven[name])
    with pytest.raises(DataError, match="have the weight 0"):
        weights_after(write_table(root, "none.csv", {"ant": 0, "bee": 0, "cat": 0}), make_recipe, cache, quiet)


def test_a_mixed_image_has_a_part_of_its_partners_weight() -> None:
    preprocessing = Preprocessing((3, 8, 8), "bicubic", (0.5,) * 3, (0.5,) * 3, 1.0, "center")
    transform = BatchTransform(AugmentRecipe(crop_padding=0, mixup=1.0), preprocessing, 2)
    draws = transform.sample(4, torch.Generator().manual_seed(0))
    share = transform.share(4, torch.arange(4))
    assert draws.mixing is not None
    part = draws.mixing.weight
    found = transform.mix_weights(torch.tensor([1.0, 0.0, 0.0, 2.0]), draws, share)
    torch.testing.assert_close(found, torch.stack([part[0], 2 * (1 - part[1]), 1 - part[2], 2 * part[3]]))
