"""``torchrun -m training``: two processes take the same steps as one."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from training.evaluation.scoring import EVALUATION_BATCH, shard
from training.recipe.keys import Recipe
from training.run.trainer import train
from training.storage.checkpoint import load_state

MakeRecipe = Callable[..., Recipe]
SMALL_AIT = {
    "name": "ait_tiny_patch4_32",
    # Without chance inside the model, for each process draws its own. Fewer winners than the last batch has tokens,
    # for where all tokens win, what is read less the mean is rounding.
    "args": {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "memory_args": {"bottleneck": 2}},
}


def run_two_processes(recipe: Recipe, folder: Path, *options: str) -> None:
    path = folder / f"{recipe.output.name}.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "training", str(path), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def assert_same_learned(found: Recipe, expected: Recipe) -> None:
    """Weights, averages, optimiser and metrics of two runs, but for rounding."""
    tensors, values = load_state(found.output / "last" / "state.safetensors")
    reference, reference_values = load_state(expected.output / "last" / "state.safetensors")
    assert tensors.keys() == reference.keys()
    for name, tensor in reference.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    rows, reference_rows = values["position"]["history"], reference_values["position"]["history"]
    for row, reference_row in zip(rows, reference_rows, strict=True):
        # Accuracies are counts of the same images, to the last one.
        for column in ("train_acc", "val_acc", "ema_val_acc"):
            assert row[column] == reference_row[column]
        for column in ("train_loss", "val_loss", "ema_val_loss", "balance_loss"):
            assert abs(row[column] - reference_row[column]) < 1e-4
    best, reference_best = (load_file(recipe.output / "best" / "model.safetensors") for recipe in (found, expected))
    assert best.keys() == reference_best.keys()
    for name, tensor in reference_best.items():
        torch.testing.assert_close(best[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


SETTINGS = {"model": SMALL_AIT, "optimizer": {"name": "sgd", "lr": 0.01}, "accumulate": 1, "clip_grad": 1.0}


@pytest.fixture
def one(make_recipe: MakeRecipe, tmp_path: Path) -> Recipe:
    """Two epochs by one process."""
    recipe = make_recipe(output=str(tmp_path / "one"), epochs=2, **SETTINGS)
    train(recipe, console=Console(quiet=True))
    return recipe


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_train_and_evaluate_as_one(
    sharding: str, one: Recipe, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    two = make_recipe(output=str(tmp_path / "two"), epochs=2, sharding=sharding, **SETTINGS)
    run_two_processes(two, tmp_path)
    assert_same_learned(two, one)
    assert {path.name for path in two.output.iterdir()} == {path.name for path in one.output.iterdir()}


# Without a memory: over several epochs, rounding changes which tokens win, and from then on the runs part.
PLAIN = SETTINGS | {
    "model": {
        "name": "vit_tiny_patch16_224",
        "args": {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2},
    }
}


def test_sharded_processes_go_on_where_one_stopped_and_the_other_way_round(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    one = make_recipe(output=str(tmp_path / "one"), epochs=2, **PLAIN)
    train(one, console=Console(quiet=True))
    sharded = make_recipe(output=str(one.output), epochs=3, sharding="full", **PLAIN)
    alone = make_recipe(output=str(tmp_path / "alone"), epochs=3, **PLAIN)
    shutil.copytree(one.output, alone.output)
    run_two_processes(sharded, tmp_path, "--resume", "auto")
    train(alone, resume=True, console=Console(quiet=True))
    assert_same_learned(sharded, alone)
    longer = make_recipe(output=str(sharded.output), epochs=4, **PLAIN)
    longer_alone = make_recipe(output=str(alone.output), epochs=4, **PLAIN)
    for recipe in (longer, longer_alone):
        train(recipe, resume=True, console=Console(quiet=True))
    assert_same_learned(longer, longer_alone)


def test_shards_cover_every_image_once_in_whole_batches() -> None:
    count = 3 * EVALUATION_BATCH + 7
    for processes in (1, 2, 3, 5, 9):
        shards = [shard(count, index, processes) for index in range(processes)]
        assert torch.equal(torch.cat(shards).sort().values, torch.arange(count))
        for positions in shards:
            for batch in positions.split(EVALUATION_BATCH) if len(positions) else ():
                assert batch[0] % EVALUATION_BATCH == 0
                assert torch.equal(batch, torch.arange(len(batch)) + batch[0])
