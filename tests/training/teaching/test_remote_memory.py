"""A memory on a server is used by the same commands as one in a folder."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app
from ait_lite.class_memory import ClassMemory
from tests.support.servers.memories_client import COLOURS, coloured
from tests.support.servers.running_server import running_server
from training.teaching.remote_memory import list_memories

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
    assert "nothing that was forgotten is left" in run(app, ["memory", "verify", "pets", *at]).stdout
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


def test_examples_on_a_server_are_listed_corrected_and_forgotten_by_source(url: str, tmp_path: Path) -> None:
    at, files = ("--url", url), {}
    for label in ("red", "green"):
        files[label] = tmp_path / f"{label}.png"
        files[label].write_bytes(coloured(label))
    assert run(app, ["memory", "create", "held", "--keep", "image", *at]).exit_code == 0
    for label, file in files.items():
        words = ["memory", "teach", "held", str(file), "--label", label, "--source", f"{label} ones", *at]
        assert run(app, words).exit_code == 0
    ids = {label: hashlib.sha256(file.read_bytes()).hexdigest()[:32] for label, file in files.items()}
    listed = sorted(f"{ids[label]}  {label}  {label} ones" for label in files)
    assert run(app, ["memory", "list", "held", *at]).stdout.splitlines() == listed
    chosen = json.loads(run(app, ["memory", "list", "held", "--source", "red ones", "--json", *at]).stdout)
    assert [(each["id"], each["label"], each["negative"]) for each in chosen] == [(ids["red"], "red", False)]

    assert run(app, ["memory", "correct", "held", ids["red"], "--not", "green", *at]).exit_code == 0
    assert f"{ids['red']}  not green  red ones" in run(app, ["memory", "list", "held", *at]).stdout
    recalled = ["memory", "recall", "held", str(files["red"]), *at]
    assert f"not green (1.000)  {ids['red']}" in run(app, recalled).stdout
    evidence = json.loads(run(app, [*recalled, "--json"]).stdout)["evidence"]
    assert [each["negative"] for each in evidence if each["label"] == "green"] == [True, False]
    assert run(app, ["memory", "correct", "held", ids["red"], "--label", "crimson", *at]).exit_code == 0
    assert f"{ids['red']}  crimson" in run(app, ["memory", "list", "held", "--label", "crimson", *at]).stdout

    assert "2 examples of 2 labels" in run(app, ["memory", "health", "held", *at]).stdout
    assert json.loads(run(app, ["memory", "health", "held", "--json", *at]).stdout)["examples"] == 2
    bound = run(app, ["memory", "rebind", "held", *at])
    assert (bound.exit_code, "(2 examples)" in bound.stdout) == (0, True)
    assert "forgotten: 1 example" in run(app, ["memory", "forget", "held", "--source", "red ones", *at]).stdout
    assert run(app, ["memory", "list", "held", *at]).stdout.split() == [ids["green"], "green", "green", "ones"]


def test_memories_on_a_server_are_imported_listed_and_deleted(url: str, tmp_path: Path) -> None:
    at, image, file = ("--url", url), tmp_path / "one.png", str(tmp_path / "one.safetensors")
    image.write_bytes(coloured("red"))
    assert run(app, ["memory", "create", "one", *at]).exit_code == 0
    assert run(app, ["memory", "teach", "one", str(image), "--label", "red", *at]).exit_code == 0
    assert run(app, ["memory", "export", "one", file, *at]).exit_code == 0

    imported = run(app, ["memory", "import", "copy", file, "--keep", "nothing", *at])
    assert (imported.exit_code, "(1 example of 1 label)" in imported.stdout) == (0, True), imported.output
    again = run(app, ["memory", "import", "copy", file, *at])
    assert (again.exit_code, "There is a memory 'copy' already" in again.stderr) == (1, True)
    assert run(app, ["memory", "import", "copy", file, "--replace", *at]).exit_code == 0
    listed = {each["name"]: each["keep"] for each in json.loads(run(app, ["memory", "list", "--json", *at]).stdout)}
    assert (listed["one"], listed["copy"]) == ("thumbnail", "nothing")

    kept = run(app, ["memory", "delete", "copy", *at], input="n\n")
    assert (kept.exit_code, "with 1 example?" in kept.output) == (1, True)
    assert "\ncopy  (1 example," in "\n" + run(app, ["memory", "list", *at]).stdout
    assert run(app, ["memory", "delete", "copy", *at], input="y\n").exit_code == 0
    assert run(app, ["memory", "delete", "one", "--yes", *at]).exit_code == 0
    assert "one  (" not in run(app, ["memory", "list", *at]).stdout


def test_a_memory_of_a_server_goes_on_in_a_folder(url: str, tmp_path: Path) -> None:
    at, image, file = ("--url", url), tmp_path / "one.png", tmp_path / "one.safetensors"
    image.write_bytes(coloured("red"))
    assert run(app, ["memory", "create", "moved", *at]).exit_code == 0
    assert run(app, ["memory", "teach", "moved", str(image), "--label", "red", *at]).exit_code == 0
    assert run(app, ["memory", "export", "moved", str(file), *at]).exit_code == 0
    model = {each["name"]: each["model"] for each in list_memories(url)}["moved"]
    folder = str(tmp_path / "moved")
    made = run(app, ["memory", "import", folder, str(file), "--model", model])
    assert made.exit_code == 0, made.output
    taught = run(app, ["memory", "teach", folder, str(image), "--label", "red"])
    assert "0 new, 0 relabelled, 1 known already" in taught.stdout, taught.output
    assert "forgotten: 1" in run(app, ["memory", "forget", folder, str(image)]).stdout


def test_what_a_server_refuses_is_said(url: str, tmp_path: Path) -> None:
    result = run(app, ["memory", "verify", "none", "--url", url])
    assert result.exit_code == 1
    assert "There is no memory 'none'" in result.stderr
    result = run(app, ["memory", "verify", "none", "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
