"""The documentation builds without a warning."""

import subprocess
import sys
from pathlib import Path

from tests.support.processes.examples import ROOT


def test_documentation_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    start = (tmp_path / "site" / "index.html").read_text()
    assert 'src="http' not in start
    assert 'rel="stylesheet" href="http' not in start
