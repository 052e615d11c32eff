"""Without the packages of an extra, what needs them says what to install, and the rest works."""

import subprocess
import sys
from typing import Final

import pytest

REMEDY: Final = "pip install 'associative-transformer["
_BLOCKED = "import sys; sys.modules.update(dict.fromkeys({packages!r})); sys.argv[1:] = {arguments!r}; {program}"


def without(packages: list[str], program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program where packages seem not to be installed."""
    text = _BLOCKED.format(packages=packages, arguments=list(arguments), program=program)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)


@pytest.mark.parametrize("package", ["torch", "timm"])
def test_the_library_names_the_extra(package: str) -> None:
    done = without([package], "import ait")
    assert done.returncode == 1
    assert f"ait's models need {package}, which is not installed: {REMEDY}models]'" in done.stderr


def test_commands_name_the_extra() -> None:
    done = without(["torch", "timm"], "from ait_cli.main import main; main()", "export", "nowhere", "model.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: this needs ")
    assert REMEDY in done.stderr
    assert "Traceback" not in done.stderr
    key = without(["torch", "timm", "fastapi"], "from ait_cli.main import main; main()", "key", "alice")
    assert (key.returncode, "alice" in key.stdout) == (0, True)
