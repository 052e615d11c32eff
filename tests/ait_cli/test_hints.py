"""What messages tell people to set exists: keys of recipes, and options of the command at hand."""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from ait_cli.main import app
from training.recipe.keys import Recipe
from training.recipe.loading import recipe_keys

ROOT = Path(__file__).parents[2]
run = CliRunner().invoke

SECTIONS = sorted({key.name.partition(".")[0] for key in recipe_keys() if "." in key.name})
KEY = re.compile(rf"(?<![\w./])({'|'.join(SECTIONS)})\.([a-z_]+)(?=[\s=,.;:)'\"`]|$)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# Names of files, and of tensors in the state of a run.
NOT_KEYS = {"model.safetensors", "model.onnx", "data.training", "data.validation"}
# What other programs take, where messages and code name them.
OTHERS = {"--data-binary", "--porcelain", "--read-only", "--tmpfs", "--untracked-files", "--help"}


def texts(*packages: str) -> Iterator[tuple[str, str]]:
    """Files and the strings in them, formatted ones with what is put in left out."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "benchmark" not in path.parts:
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        yield path.relative_to(ROOT).as_posix(), node.value


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """A command and all below it, by their names."""
    yield name, command
    if isinstance(command, TyperGroup):
        for each in command.list_commands(None):
            yield from commands(command.get_command(None, each), f"{name} {each}".strip())


def options() -> dict[str, set[str]]:
    """Options of each command."""
    return {
        name: {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in commands(typer.main.get_command(app))
    }


def test_every_recipe_key_that_is_named_exists() -> None:
    keys = {key.name for key in recipe_keys()} | set(Recipe.model_fields) | NOT_KEYS
    named = {
        (path, found.group())
        for path, text in texts("ait", "ait_cli", "training")
        for found in KEY.finditer(text)
        if not text[: found.start()].endswith(("import ", "from "))
    }
    assert len(named) > 30
    assert {(path, key) for path, key in named if key not in keys} == set()


def test_every_option_that_is_named_exists() -> None:
    known = set().union(*options().values()) | OTHERS
    named = {(path, option) for path, text in texts("ait", "ait_cli", "ait_lite", "service", "training")
             for option in OPTION.findall(text)}  # fmt: skip
    assert len(named) > 50
    assert {(path, option) for path, option in named if option not in known} == set()


@pytest.mark.parametrize(
    "words",
    ["evaluate {model} {data}", "evaluate {model} {data} --runtime torch", "audit {model} {data}",
     "inspect {model} --data {data}", "correct {model} {image} --label ant --data {data}"],
)  # fmt: skip
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_command_names_its_own_options(
    words: str, wrapped: bool, checkpoint: Path, image_file: Path, labelled_images: Path, tmp_path: Path
) -> None:
    """Where the layout of a folder cannot be told, and what is said is an option that the command has."""
    data = tmp_path / "data"
    if wrapped:
        shutil.copytree(labelled_images, data / "images")
    else:
        for split in ("train", "val"):
            shutil.copytree(labelled_images, data / split)
        (data / "notes" / "old").mkdir(parents=True)
    arguments = words.format(model=checkpoint, data=data, image=image_file).split()
    result = run(app, arguments)
    assert result.exit_code == 1
    message = " ".join(result.stderr.split())
    named = OPTION.findall(message)
    assert named == ["--layout"]
    assert set(named) <= options()[arguments[0]]
    # Only what a recipe has is said in a recipe's words.
    assert all("in a recipe" in message[found.start() :] for found in KEY.finditer(message))
