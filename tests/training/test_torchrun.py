"""``torchrun -m training``: two processes take the same steps as one."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from training.checkpoint import load_state
from training.config import Recipe
from training.scoring import EVALUATION_BATCH, shard

MakeRecipe = Callable[..., Recipe]
SMALL_AIT = {
    "name": "ait_tiny_patch4_32",
    # Without chance inside the model, for each process draws its own. Fewer winners than the last batch has tokens,
    # for where all tokens win, what is read less the mean is rounding.
    "args": {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "memory_args": {"bottleneck": 2}},
}


def run(recipe: Recipe, folder: Path, processes: int) -> None:
    path = folder / f"{recipe.output.name}.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    launcher: list[Any] = []
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "training", str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_train_and_evaluate_as_one(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = {"model": SMALL_AIT, "optimizer": {"name": "sgd", "lr": 0.01}, "accumulate": 1, "epochs": 2}
    one = make_recipe(output=str(tmp_path / "one"), **settings)
    two = make_recipe(output=str(tmp_path / "two"), **settings)
    run(one, tmp_path, processes=1)
    run(two, tmp_path, processes=2)
    expected, expected_values = load_state(one.output / "last" / "state.safetensors")
    found, values = load_state(two.output / "last" / "state.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        if name.startswith(("model.", "average.")):
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    for row, reference in zip(values["position"]["history"], expected_values["position"]["history"], strict=True):
        # Accuracies are counts of the same images, to the last one.
        for column in ("train_acc", "val_acc", "ema_val_acc"):
            assert row[column] == reference[column]
        for column in ("train_loss", "val_loss", "balance_loss"):
            assert abs(row[column] - reference[column]) < 1e-4
    assert {path.name for path in two.output.iterdir()} == {path.name for path in one.output.iterdir()}


def test_shards_cover_every_image_once_in_whole_batches() -> None:
    count = 3 * EVALUATION_BATCH + 7
    for processes in (1, 2, 3, 5, 9):
        shards = [shard(count, index, processes) for index in range(processes)]
        assert torch.equal(torch.cat(shards).sort().values, torch.arange(count))
        for positions in shards:
            for batch in positions.split(EVALUATION_BATCH) if len(positions) else ():
                assert batch[0] % EVALUATION_BATCH == 0
                assert torch.equal(batch, torch.arange(len(batch)) + batch[0])
