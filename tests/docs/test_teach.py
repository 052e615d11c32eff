"""The commands of the story of memories work as they are typed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.support.processes.command import AIT
from tests.support.processes.examples import ROOT
from tests.support.servers.postgres_server import running_postgres
from tests.support.servers.running_server import running_server


def test_the_story_of_memories_works_as_typed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "teach.md").read_text()
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    drawing = next(text for language, text in blocks if language == "python" and text.startswith("# draw.py"))
    (tmp_path / "draw.py").write_text(drawing)
    assert shutil.which("curl"), "curl is missing: apt-get install curl"
    with (
        running_postgres() as database,
        running_server(AIT_MEMORIES=str(tmp_path / "memories.sqlite3"), AIT_TORCH_THREADS="1") as (url, _),
        running_server(AIT_MEMORIES=database.url, AIT_TORCH_THREADS="1") as (other, _),
    ):
        for language, text in blocks:
            if language == "bash" and "pip install" not in text:
                commands = text.replace("localhost:8000", url.removeprefix("http://"))
                commands = commands.replace("localhost:8001", other.removeprefix("http://"))
                commands = re.sub(r"^ait ", f"{AIT} ", commands, flags=re.MULTILINE)
                commands = commands.replace("python ", f"{sys.executable} ").replace(
                    "curl ", "curl -sS --fail-with-body "
                )
                done = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, capture_output=True, text=True)
                assert done.returncode == 0, (text, done.stdout, done.stderr)
                assert '"outcome":"refused"' not in done.stdout
            elif language == "python" and text != drawing:
                environment = {"PYTHONPATH": str(ROOT)}
                subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=environment, check=True)
        assert "shapes" not in memories_of(url)
        moved = memories_of(other)["shapes"]
        assert (moved["examples"], moved["keep"], moved["unknown_level"]) == (3, "image", 0.05)


def memories_of(url: str) -> dict[str, Any]:
    with urlopen(f"{url}/v1/memories") as response:
        return {each["name"]: each for each in json.load(response)["memories"]}
