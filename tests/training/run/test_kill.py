"""A run that is killed, wherever, ends as if it had not been."""

import hashlib
import random
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.processes.forked import run_forked
from tests.support.processes.training_runs import run_until
from training.storage.state_file import load_state

# Against a run that hangs; several processes one after the other take long on a busy machine.
pytestmark = pytest.mark.timeout(1800)


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


def test_a_run_killed_at_random_moments_equals_the_uninterrupted_one(
    settings: Callable[[Path], Path], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    ended = run_forked("training", [str(settings(whole))])
    assert ended.returncode == 0, ended.stderr
    killed = tmp_path / "killed"
    arguments = [str(settings(killed)), "--resume", "auto"]
    chance = random.Random(5)
    # Every process gets beyond a checkpoint of its own: one every second step, after at most five renames before it.
    for event, first, last in (("rename", 6, 16), ("step", 3, 9)):
        ended = run_until("SIGKILL", event, chance.randint(first, last), killed, arguments)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    ended = run_forked("training", arguments)
    assert ended.returncode == 0, ended.stderr
    assert fingerprints(killed) == fingerprints(whole)
    assert len(list((killed / "checkpoints").iterdir())) == 2
    assert not [path for path in killed.rglob("*") if path.name.endswith(".tmp")]


def test_a_full_disk_is_said_and_spares_what_was_written(settings: Callable[[Path], Path], tmp_path: Path) -> None:
    output = tmp_path / "run"
    recipe = str(settings(output))
    ended = run_forked("training", [recipe, "epochs=1"])
    assert ended.returncode == 0, ended.stderr
    before = fingerprints(output)
    # Room for everything but the state.
    room = (output / "last" / "state.safetensors").stat().st_size * 9 // 10

    arguments = [recipe, "epochs=2", "--resume", "auto"]
    # The system refuses to let files grow, as it does where there is no space.
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
    ended = run_forked("training", arguments, prepare=full)
    assert ended.returncode == 1
    assert f"error: cannot write to {output}" in ended.stderr
    assert "--resume auto" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert fingerprints(output) == before
    ended = run_forked("training", arguments)
    assert ended.returncode == 0, ended.stderr
