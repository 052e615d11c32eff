"""Help, version, and the same commands under ``python -m``."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import ait
from ait_cli.lazy_group import load_command
from ait_cli.main import COMMANDS, app
from service.settings import Settings
from tests.support.processes.command import AIT

run = CliRunner().invoke


def output(*command: str) -> str:
    """What a command prints, its own name left out."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.partition("Usage: ")[2].partition(" [OPTIONS]")[2]


def test_help_names_every_command() -> None:
    text = run(app, ["--help"]).output
    for command in ("train", "evaluate", "calibrate", "exemplars", "predict", "inspect", "export", "serve", "bench"):
        assert command in text


def test_train_help_explains_the_recipe_keys() -> None:
    text = run(app, ["train", "--help"]).output
    for key in ("data.root", "optimizer.lr", "epochs", "cifar10_cpu"):
        assert key in text


def test_serve_help_explains_every_setting() -> None:
    text = run(app, ["serve", "--help"]).output
    for name in Settings.model_fields:
        assert name.upper() in text


def test_there_is_one_version() -> None:
    assert run(app, ["--version"]).output == f"ait {version('associative-transformer')}\n"
    assert ait.__version__ == version("associative-transformer")


@pytest.mark.parametrize(("module", "command"), [("service", "serve"), ("training", "train")])
def test_a_package_is_run_by_the_same_command(module: str, command: str) -> None:
    assert output(sys.executable, "-m", module, "--help") == output(AIT, command, "--help")
    wrong = subprocess.run([sys.executable, "-m", module, "--nonsense"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert f"python -m {module}" in wrong.stderr


# What takes seconds to import, or belongs to another command.
HEAVY = {"torch", "timm", "torchvision", "numpy", "matplotlib", "fastapi", "uvicorn", "rich"}


def modules_of(*arguments: str) -> tuple[int, set[str]]:
    """Exit code of a command, and all that it imports."""
    script = (
        "import sys\n"
        "from ait_cli.main import main\n"
        f"sys.argv = ['ait', *{list(arguments)}]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print('imported', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return done.returncode, set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["key", "someone"], ["serve", "--help"], ["train", "--help"], ["train", "nonsense"]],
    ids=" ".join,
)
def test_small_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code, modules = modules_of(*arguments)
    assert code == ("nonsense" in arguments)
    assert "typer" in modules
    assert not {name.partition(".")[0] for name in modules} & HEAVY


def test_a_command_does_not_wait_for_the_others() -> None:
    code, modules = modules_of("key", "someone")
    assert code == 0
    own = {"arguments", "lazy_group", "main", "output", "serve"}
    assert {name.partition(".")[2] for name in modules if name.startswith("ait_cli.")} <= own


def test_a_memory_on_a_server_is_asked_without_torch(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    nobody = "http://127.0.0.1:1"
    code, modules = modules_of("memory", "recall", "pets", str(tmp_path / "image.png"), "--url", nobody)
    assert code == 1
    assert "training.teaching.remote_memory" in modules
    assert "torch" not in modules


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    found = run(app, ["trian"])
    assert found.exit_code == 2
    assert "'train'" in found.output


def test_every_command_has_a_module() -> None:
    for name, place in COMMANDS.items():
        assert load_command(name, place).name in (name, "")  # a group has none of its own
