"""A memory on a server is used by the same commands as one in a folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app
from ait_lite.class_memory import ClassMemory
from tests.support.memories_client import COLOURS, coloured
from tests.support.running_server import running_server

run = CliRunner().invoke


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("store") / "memories.sqlite3"
    with running_server(AIT_MEMORIES=str(store), AIT_TORCH_THREADS="1") as (address, _):
        yield address


def test_create_teach_recall_forget_verify_export_on_a_server(url: str, tmp_path: Path) -> None:
    for label in COLOURS:
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(10):  # more than one request
            (tmp_path / "images" / label / f"{number}.png").write_bytes(coloured(label, number))
    images, at = str(tmp_path / "images"), ("--url", url)

    for told in ("created: pets on ", "there already, and left as it is: pets on "):
        result = run(app, ["memory", "create", "pets", *at])
        assert result.exit_code == 0, result.output
        assert told in result.stdout
    result = run(app, ["memory", "teach", "pets", images, *at])
    assert result.exit_code == 0, result.output
    assert "30 new" in result.stdout
    assert "30 known already" in run(app, ["memory", "teach", "pets", images, *at]).stdout
    asked = tmp_path / "asked.png"
    asked.write_bytes(coloured("green", 77))
    answer = json.loads(run(app, ["memory", "recall", "pets", str(asked), "--json", *at]).stdout)
    assert answer["labels"][0]["label"] == "green"
    assert answer["evidence"][0]["label"] == "green"

    broken = tmp_path / "broken.png"
    broken.write_bytes(coloured("red")[:100])
    refused = run(app, ["memory", "teach", "pets", str(broken), "--label", "red", *at])
    assert refused.exit_code == 1
    assert "broken.png" in refused.stderr
    assert "--skip-broken; what has been taught stays" in " ".join(refused.stderr.split())
    assert run(app, ["memory", "teach", "pets", str(broken), "--label", "red", "--skip-broken", *at]).exit_code == 0

    assert "10 examples" in run(app, ["memory", "forget", "pets", "--label", "red", *at]).stdout
    told = json.loads(run(app, ["memory", "verify", "pets", "--json", *at]).stdout)
    assert told["equal"]
    assert run(app, ["memory", "export", "pets", str(tmp_path / "pets.safetensors"), *at]).exit_code == 0
    exported = ClassMemory.load(tmp_path / "pets.safetensors")
    assert exported.digest() == told["digest"]
    assert exported.counts == {"blue": 10, "green": 10}


def test_what_a_server_cannot_tell_yet_is_said(url: str, tmp_path: Path) -> None:
    image, at = str(tmp_path / "one.png"), ("--url", url)
    Path(image).write_bytes(coloured("red"))
    assert run(app, ["memory", "create", "few", *at]).exit_code == 0
    empty = run(app, ["memory", "recall", "few", image, *at])
    assert empty.exit_code == 0, empty.output
    assert empty.stdout.splitlines() == [f"{image}: no label", "  cannot tell yet: Nothing has been taught yet."]
    assert run(app, ["memory", "teach", "few", image, "--label", "red", *at]).exit_code == 0
    told = json.loads(run(app, ["memory", "recall", "few", image, "--json", *at]).stdout)
    assert told["unknown"] is None
    assert told["reason"].startswith("It takes 19 examples")
    assert f"cannot tell yet: {told['reason']}" in run(app, ["memory", "recall", "few", image, *at]).stdout


def test_what_a_server_refuses_is_said(url: str, tmp_path: Path) -> None:
    result = run(app, ["memory", "verify", "none", "--url", url])
    assert result.exit_code == 1
    assert "There is no memory 'none'" in result.stderr
    result = run(app, ["memory", "verify", "none", "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
