"""The commands and the Python blocks of the documentation are valid."""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer.main
from typer.core import TyperGroup

from ait_cli.main import app
from tests.support.processes.examples import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(language: str) -> list[tuple[Path, str]]:
    return [(page, text) for page in PAGES for found, text in BLOCK.findall(page.read_text()) if found == language]


def _commands() -> list[list[str]]:
    lines = [line for _, text in _blocks("bash") for line in text.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [each[1:] for each in words if each[:1] == ["ait"]]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_documented_command_is_accepted(words: list[str]) -> None:
    command = typer.main.get_command(app)
    context = click.Context(command, info_name="ait")
    while isinstance(command, TyperGroup) and words and words[0] in command.list_commands(context):
        command, words = command.get_command(context, words[0]), words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    if "--help" not in words:
        command.parse_args(context, list(words))


@pytest.mark.parametrize(("page", "text"), _blocks("python"), ids=lambda value: getattr(value, "name", "block"))
def test_documented_python_compiles(page: Path, text: str) -> None:
    compile(text, str(page), "exec")


def test_every_bash_block_can_be_typed() -> None:
    assert len(_commands()) > 20
    assert not [text for _, text in _blocks("bash") if re.search(r"^\$ ", text, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
