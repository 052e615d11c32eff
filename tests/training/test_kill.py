"""A run that is killed, wherever, ends as if it had not been."""

import hashlib
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.recipe.keys import Recipe
from training.storage.checkpoint import load_state

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def settings(recipe_values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Writes a recipe file with every source of chance and state for an output folder."""
    folder = tmp_path_factory.mktemp("recipes")

    def write(output: Path) -> Path:
        values = {
            **recipe_values,
            "data": {**recipe_values["data"], "workers": 2, "balance": "sampler"},
            "augment": {**recipe_values["augment"], "policy": "trivialaugment", "repeats": 2},
            "tracking": ["tensorboard"],
            "model": {
                "name": "ait_tiny_patch4_32",
                "args": {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "drop_path_rate": 0.2},
            },
            "batch_size": 4,
            "epochs": 3,
            "accumulate": 2,
            "checkpoint_every": 2,
            "keep_checkpoints": 2,
            "output": str(output),
        }
        path = folder / f"{output.name}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def start(recipe: Path, *arguments: str, **keywords: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "training", str(recipe), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        **keywords,
    )


def fingerprints(output: Path) -> dict[str, str]:
    """Digests of everything a run leaves that does not depend on the clock or the folder's name."""
    tensors, values = load_state(output / "last" / "state.safetensors")
    values["recipe"].pop("output")
    values["position"].pop("timings")
    found = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in tensors.items()}
    found["values"] = repr(values)
    files = [output / "metrics.csv", *output.glob("best/*"), *output.glob("checkpoints/*/*")]
    found |= {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return found


def test_a_run_killed_at_random_steps_equals_the_uninterrupted_one(
    settings: Callable[[Path], Path], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    _, errors = (process := start(settings(whole))).communicate(timeout=240)
    assert process.returncode == 0, errors
    killed = tmp_path / "killed"
    chance = random.Random(5)
    for _ in range(3):
        process = start(settings(killed), "--resume", "auto")
        _kill_after_next_checkpoint(process, killed / "last" / "state.safetensors", chance.uniform(0.0, 0.15))
        assert process.returncode == -9
    _, errors = (process := start(settings(killed), "--resume", "auto")).communicate(timeout=240)
    assert process.returncode == 0, errors
    assert fingerprints(killed) == fingerprints(whole)
    assert len(list((killed / "checkpoints").iterdir())) == 2


def _kill_after_next_checkpoint(process: "subprocess.Popen[str]", path: Path, delay: float) -> None:
    """Kill a process some time after it wrote a checkpoint of its own."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    deadline = time.monotonic() + 240
    while not path.exists() or path.stat().st_mtime_ns == before:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.communicate()


def test_a_full_disk_is_said_and_spares_what_was_written(settings: Callable[[Path], Path], tmp_path: Path) -> None:
    output = tmp_path / "run"
    recipe = settings(output)
    _, errors = (process := start(recipe, "epochs=1")).communicate(timeout=240)
    assert process.returncode == 0, errors
    before = fingerprints(output)
    # Room for everything but the state.
    room = (output / "last" / "state.safetensors").stat().st_size * 9 // 10

    def no_room() -> None:
        # The system refuses to let files grow, as it does where there is no space.
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    process = start(recipe, "epochs=2", "--resume", "auto", preexec_fn=no_room)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert f"error: cannot write to {output}" in errors
    assert "--resume auto" in errors
    assert "Traceback" not in errors
    assert fingerprints(output) == before
    _, errors = (process := start(recipe, "epochs=2", "--resume", "auto")).communicate(timeout=240)
    assert process.returncode == 0, errors
