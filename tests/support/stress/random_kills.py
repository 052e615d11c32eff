"""Kill small runs at random moments and hold what they leave against a run that nobody disturbed.

    python -m tests.support.stress.random_kills FOLDER --seed 0 --kills 25

A run has augmentation, workers, averaged weights and images held out. Each of its processes is ended with SIGKILL
after a random time, with all its workers, wherever it is: importing, decoding, in a step, writing. When a run got
through it must be the undisturbed one's to the bit, and no image of its validation set may ever have been trained on.
Between kills an image is now and then added, which must be refused. Runs follow each other until there were as many
kills as asked for; exit code 1 tells of a difference.

The moments depend on the clock, so this is no test; the times are drawn from the seed. Parts with other seeds can run
elsewhere. No figures are drawn: that would take most of the time, and so of the kills.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tests.support.images.training_images import write_images
from tests.support.processes.processes import alive, descendants
from tests.support.processes.waiting import wait_for
from training.errors import CheckpointError
from training.recipe.keys import Recipe
from training.recipe.loading import parse_recipe
from training.run import trainer
from training.run.preparation import RunParts
from training.step.training_step import TrainingStep
from training.storage.state_file import load_state

_IMAGES = 11  # of each class
_ADDED_EVERY = 5  # kills


def main() -> None:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Where to work; it is created.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=25)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.folder.mkdir(parents=True)
    write_images(asked.folder / "data", _IMAGES, seed=asked.seed)
    began = time.monotonic()
    _finish(_recipe(asked.folder, "whole"))
    length = time.monotonic() - began
    reference = _fingerprint(asked.folder / "whole")
    chance = random.Random(asked.seed)
    kills = runs = refused = 0
    while kills < asked.kills:
        recipe = _recipe(asked.folder, f"run-{runs}")
        while not _killed(recipe, chance.uniform(0.01, 0.8) * length if kills < asked.kills else None):
            kills += 1
            print(f"seed {asked.seed}: {kills} kills", flush=True)
            if kills % _ADDED_EVERY == 0:
                refused += _refuses_another_image(asked.folder, recipe)
        _check(recipe.output, reference)
        runs += 1
        print(f"seed {asked.seed}: {kills} kills, {runs} runs, {refused} refusals, no difference", flush=True)
        shutil.rmtree(recipe.output)


def _recipe(folder: Path, name: str) -> Recipe:
    size: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "drop_path_rate": 0.2}
    return parse_recipe(
        {
            "data": {"root": str(folder / "data"), "cache": str(folder / "cache"), "workers": 2},
            "model": {"name": "ait_tiny_patch4_32", "args": size},
            "output": str(folder / name),
            "epochs": 3,
            "batch_size": 4,
            "optimizer": {"name": "nmuon", "lr": 0.01},
            "schedule": {"warmup_epochs": 0.5},
            "augment": {"policy": "trivialaugment", "mixup": 0.2, "cutmix": 1.0, "random_erasing": 0.3, "repeats": 2},
            "ema_decay": 0.9,
            "checkpoint_every": 2,
            "keep_checkpoints": 2,
            "exemplars": 2,
            "figures": False,
            "device": "cpu",
            "seed": 3,
        }
    )


def _finish(recipe: Recipe) -> None:
    """Train to the end in a process of its own."""
    if not _killed(recipe, None):
        raise SystemExit("the undisturbed run was killed")


def _killed(recipe: Recipe, seconds: float | None) -> bool:
    """Train in a process of its own, and kill it after some time: True if it came to its end before."""
    child = os.fork()
    if child == 0:
        _train(recipe)
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                raise SystemExit(f"a run ended with {os.waitstatus_to_exitcode(status)}")
            return True
        time.sleep(0.02)
    group = {child, *descendants(child)}  # with the processes that load its images
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(lambda: not any(map(alive, group)), "all of the run to end")  # while one lives, the output is locked
    return False


def _train(recipe: Recipe) -> None:
    """Train, note what is trained on, and end the process."""
    os.setpgid(0, 0)
    code = 1
    try:
        log = recipe.output.with_suffix(".seen").open("ab", buffering=0)
        call, prepare = TrainingStep.__call__, trainer.prepare
        names: list[str] = []

        def prepared(*arguments: Any) -> RunParts:
            parts = prepare(*arguments)
            names.extend(parts.images.training.names)
            return parts

        def noted(self: TrainingStep, chosen: torch.Tensor, *arguments: Any) -> Any:
            log.write("".join(f"{names[index]}\n" for index in chosen.tolist()).encode())
            return call(self, chosen, *arguments)

        trainer.prepare = prepared
        TrainingStep.__call__ = noted  # type: ignore[method-assign, assignment]
        trainer.train(recipe, resume=True, console=Console(quiet=True))
        code = 0
    except Exception as error:  # told to the parent, by code and words
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 3 if isinstance(error, CheckpointError) and "have changed" in str(error) else 1
    finally:
        os._exit(code)


def _refuses_another_image(folder: Path, recipe: Recipe) -> bool:
    """Add an image and go on: True if that was refused; False if there was no state yet to hold it against."""
    if not (recipe.output / "last" / "state.safetensors").exists():
        return False
    added = folder / "data" / "ant" / "added.png"
    shutil.copy(folder / "data" / "ant" / "000.png", added)
    try:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            _train(recipe)
        if (code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) != 3:
            raise SystemExit(f"a run with another image ended with {code}, not with a refusal")
    finally:
        added.unlink()
    return True


def _fingerprint(output: Path) -> dict[str, bytes]:
    """Read everything that a run leaves and that depends on neither clock nor folder."""
    tensors, values = load_state(output / "last" / "state.safetensors")
    values["recipe"].pop("output")
    values["position"].pop("timings")
    found = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    found["values"] = repr(values).encode()
    files = [
        output / "metrics.csv",
        output / "validation.txt",
        *output.glob("best/*"),
        *output.glob("checkpoints/*/*"),
    ]
    return found | {str(path.relative_to(output)): path.read_bytes() for path in files}


def _check(output: Path, reference: dict[str, bytes]) -> None:
    """Hold a finished run against the undisturbed one, and what it trained on against what it held out."""
    found = _fingerprint(output)
    different = [name for name in reference.keys() | found.keys() if reference.get(name) != found.get(name)]
    if different:
        raise SystemExit(f"{output} differs in {', '.join(sorted(different)[:5])}")
    held_out = set((output / "validation.txt").read_text().splitlines())
    seen, whole = (_seen(each) for each in (output, output.with_name("whole")))
    if seen & held_out or seen != whole:
        raise SystemExit(f"{output} trained on {sorted(seen & held_out)}, and on others {sorted(seen ^ whole)}")


def _seen(output: Path) -> set[str]:
    """Read which images a run was trained on, by all its processes."""
    return set(output.with_suffix(".seen").read_text().splitlines())


if __name__ == "__main__":
    main()
