"""``torchrun -m training``: two processes take the same steps as one."""

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tests.support.images.training_images import write_images
from tests.support.processes.forked import ForkedProgram
from tests.support.processes.training_runs import MakeRecipe, run_module, write_recipe
from training.evaluation.evaluate import evaluate
from training.evaluation.scoring import EVALUATION_BATCH
from training.recipe.keys import Recipe
from training.run.trainer import train
from training.storage.state_file import load_state

# Against a run that hangs; several processes one after the other take long on a busy machine.
pytestmark = pytest.mark.timeout(1800)
SMALL_AIT = {
    "name": "ait_tiny_patch4_32",
    # Without chance inside the model, for each process draws its own. Fewer winners than the last batch has tokens,
    # for where all tokens win, what is read less the mean is rounding.
    "args": {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "memory_args": {"bottleneck": 2}},
}


def run_with_torchrun(recipe: Recipe, folder: Path) -> None:
    path = write_recipe(recipe, folder / f"{recipe.output.name}.yaml")
    # Standalone, torchrun finds a free port by itself.
    launcher = ["torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"]
    ended = run_module(*launcher, "-m", "training", str(path))
    assert ended.returncode == 0, ended.stderr


def run_two_processes(recipe: Recipe, folder: Path, *options: str) -> None:
    """Start what torchrun starts, without importing everything in three processes."""
    path = write_recipe(recipe, folder / f"{recipe.output.name}.yaml")
    meeting = folder / f"{recipe.output.name}.meeting"
    meeting.unlink(missing_ok=True)
    local = {"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    with ExitStack() as stack:
        programs = [
            stack.enter_context(
                ForkedProgram(
                    "training",
                    [str(path), *options],
                    {**local, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    partial(join, meeting, rank),
                )
            )
            for rank in range(2)
        ]
        for program in programs:
            ended = program.wait()
            assert ended.returncode == 0, ended.stderr


def join(meeting: Path, rank: int) -> None:
    """Meet the other process by a file, where torchrun has a port."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)


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
    (run_with_torchrun if sharding == "none" else run_two_processes)(two, tmp_path)
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


def test_two_processes_report_what_the_model_that_they_keep_answers(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    # Each process normalises its own images, and has running statistics of those.
    data = {"root": str(tmp_path / "data"), "cache": str(tmp_path / "cache")}
    write_images(tmp_path / "data" / "train", 11, seed=0)
    # More than a batch of evaluation, so that both processes score images.
    write_images(tmp_path / "data" / "val", 100, seed=5)
    convolutional = SETTINGS | {"data": data, "model": {"name": "resnet10t"}, "ema_decay": None}
    recipe = make_recipe(epochs=1, **convolutional)
    run_two_processes(recipe, tmp_path)
    (row,) = load_state(recipe.output / "last" / "state.safetensors").values["position"]["history"]
    found = evaluate(recipe.output / "best", tmp_path / "data", cache=tmp_path / "cache", device="cpu")
    assert found.images > EVALUATION_BATCH
    assert row["val_loss"] == pytest.approx(found.nll, rel=1e-5)


def test_two_sharded_processes_learn_from_a_teacher_as_one(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    teacher = make_recipe(output=str(tmp_path / "teacher"), epochs=1, **PLAIN)
    train(teacher, console=Console(quiet=True))
    settings = PLAIN | {"distil": {"teacher": str(teacher.output / "best"), "weight": 0.9}}
    one = make_recipe(output=str(tmp_path / "one"), epochs=2, **settings)
    train(one, console=Console(quiet=True))
    two = make_recipe(output=str(tmp_path / "two"), epochs=2, sharding="full", **settings)
    run_two_processes(two, tmp_path)
    assert_same_learned(two, one)
    untaught = make_recipe(output=str(tmp_path / "untaught"), epochs=2, **PLAIN)
    train(untaught, console=Console(quiet=True))
    taught, other = (load_file(recipe.output / "best" / "model.safetensors") for recipe in (one, untaught))
    assert not torch.allclose(taught["head.weight"], other["head.weight"], atol=1e-4)  # it makes a difference
