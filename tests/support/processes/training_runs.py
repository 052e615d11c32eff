"""Start runs in processes of their own, and compare what runs leave."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import yaml

from tests.support.processes.examples import ROOT
from tests.support.processes.forked import run_forked
from training.recipe.keys import Recipe
from training.storage.state_file import load_state

MakeRecipe = Callable[..., Recipe]


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """Write a recipe as a file, and return its path."""
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return path


def run_module(*arguments: str, threads: int = 1) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m ARGUMENTS`` until it ends, as a user does; `run_forked` spares it the imports."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


def run_until(
    signal_name: str, event: str, number: int, output: Path, arguments: Sequence[str]
) -> "subprocess.CompletedProcess[str]":
    """Train in a process that sends itself a signal at an event (see `tests.support.processes.ended_run`)."""
    return run_forked("tests.support.processes.ended_run", [signal_name, event, str(number), str(output), *arguments])


def assert_same_run(output: Path, reference: Path) -> None:
    """Check that two runs left the same but for the timings, to the last bit."""
    tensors, values = load_state(output / "last" / "state.safetensors")
    expected_tensors, expected_values = load_state(reference / "last" / "state.safetensors")
    assert tensors.keys() == expected_tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected_tensors[name]), name
    for held in (values, expected_values):
        held["recipe"].pop("output")
        held["position"].pop("timings")
    assert values == expected_values
    for name in ("metrics.csv", "best/config.json", "best/model.safetensors", "best/exemplars.safetensors"):
        assert (output / name).read_bytes() == (reference / name).read_bytes()
