"""Teaching classes by command."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app
from tests.support.models.small_checkpoints import save_small_checkpoint

run = CliRunner().invoke


def test_create_teach_recall_forget_verify_export(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    memory = str(tmp_path / "memory")
    assert run(app, ["memory", "create", memory, "--model", str(checkpoint)]).exit_code == 0
    image = str(labelled_images / "ant" / "0.png")
    before = run(app, ["memory", "recall", memory, image])
    assert (before.exit_code, "cannot tell yet: Nothing has been taught yet." in before.stdout) == (0, True)
    result = run(app, ["memory", "teach", memory, str(labelled_images)])
    assert result.exit_code == 0, result.output
    assert "6 new" in result.stdout

    result = run(app, ["memory", "recall", memory, image, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["labels"][0]["label"] == "ant"
    assert answer["unknown"] is None
    assert answer["reason"] == "It takes 99 examples to promise a level of 0.01, and there are 6."
    assert answer["evidence"][0]["path"] == image
    assert "ant (1.000)" in run(app, ["memory", "recall", memory, image]).stdout

    assert "3 examples" in run(app, ["memory", "forget", memory, "--label", "cat"]).stdout
    result = run(app, ["memory", "verify", memory, "--json"])
    assert json.loads(result.stdout)["examples"] == 3
    assert "sound: 3" in run(app, ["memory", "verify", memory]).stdout
    assert run(app, ["memory", "export", memory, str(tmp_path / "list.csv")]).exit_code == 0


def test_list_correct_import_delete(checkpoint: Path, labelled_images: Path, tmp_path: Path) -> None:
    memory, file, copy = (str(tmp_path / name) for name in ("memory", "memory.safetensors", "copy"))
    run(app, ["memory", "create", memory, "--model", str(checkpoint), "--keep", "nothing"])
    run(app, ["memory", "teach", memory, str(labelled_images)])
    ants = run(app, ["memory", "list", memory, "--label", "ant"]).stdout.splitlines()
    assert len(ants) == 3
    identifier, label, path = ants[0].split("  ")
    assert label == "ant"
    assert Path(path).parent == labelled_images / "ant"

    assert run(app, ["memory", "correct", memory, identifier, "--label", "bee"]).exit_code == 0
    held = json.loads(run(app, ["memory", "list", memory, "--label", "bee", "--json"]).stdout)
    assert [(each["id"], each["label"], each["source"]) for each in held] == [(identifier, "bee", path)]

    assert run(app, ["memory", "export", memory, file]).exit_code == 0
    imported = run(app, ["memory", "import", copy, file, "--model", str(checkpoint)])
    assert "(6 examples of 3 labels)" in imported.stdout, imported.output
    assert "choose another name, or give --replace" in run(app, ["memory", "import", copy, file]).stderr
    assert run(app, ["memory", "import", copy, file, "--replace"]).exit_code == 0
    assert run(app, ["memory", "verify", copy]).exit_code == 0

    asked = run(app, ["memory", "delete", copy], input="n\n")
    assert (asked.exit_code, Path(copy).is_dir()) == (1, True)
    assert run(app, ["memory", "delete", copy, "--yes"]).exit_code == 0
    assert not Path(copy).exists()


@pytest.mark.parametrize(
    "words",
    [
        ["create", "{tmp}/memory", "--model", "m", "--keep", "image"],
        ["import", "{tmp}/memory", "{tmp}/file", "--model", "m", "--keep", "thumbnail"],
        ["teach", "{tmp}/memory", "{tmp}", "--source", "s"],
        ["forget", "{tmp}/memory", "--source", "s"],
        ["list", "{tmp}/memory", "--source", "s"],
        ["correct", "{tmp}/memory", "id", "--not", "cat"],
        ["health", "{tmp}/memory"],
        ["rebind", "{tmp}/memory"],
    ],
)
def test_what_takes_a_server_says_so(words: list[str], tmp_path: Path) -> None:
    result = run(app, ["memory", *(word.format(tmp=tmp_path) for word in words)])
    assert result.exit_code == 1
    assert "name the server with --url" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "{tmp}/memory", "--model", "nowhere"], "nowhere"),
        (["teach", "{tmp}/memory", "{tmp}/none"], "{tmp}/none"),
        (["forget", "{tmp}/memory"], "name what to forget"),
        (["recall", "{tmp}/memory", "{tmp}"], "holds no images"),
        (["verify", "{tmp}/memory"], "ait memory create"),
        (["list"], "a server with --url"),
        (["list", "--label", "cat", "--url", "http://127.0.0.1:9"], "name the memory"),
        (["correct", "{tmp}/memory", "id"], "--label"),
        (["delete", "{tmp}/none/memory", "--yes"], "{tmp}/none/memory is not there"),
        (["verify", "memory", "--model", "other", "--url", "http://127.0.0.1:9"], "leave out --model"),
        (["export", "memory", "{tmp}/list.csv", "--url", "http://127.0.0.1:9"], "ends in .safetensors"),
        (["forget", "memory", "--label", "x", "--url", "localhost:9"], "begin with http:// or https://"),
        (["create", "memory", "--url", "no-address"], "no-address is no address of a server"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], message: str, tmp_path: Path) -> None:
    result = run(app, ["memory", *(word.format(tmp=tmp_path) for word in words)])
    assert result.exit_code == 1
    assert message.format(tmp=tmp_path) in result.stderr


def test_a_memory_begins_with_what_the_head_knows(labelled_images: Path, tmp_path: Path) -> None:
    model = save_small_checkpoint(tmp_path / "model", name="ait_tiny_patch4_32", head="associative")
    memory, image = str(tmp_path / "memory"), str(labelled_images / "ant" / "0.png")
    words = ["memory", "create", memory, "--model", str(model), "--start", "head"]
    refused = run(app, [*words, "--beta", "3", "--unknown-level", "0.1"])
    assert (refused.exit_code, "leaves no choice of --beta, --unknown-level" in refused.stderr) == (1, True)
    made = run(app, words)
    assert "readout associative" in made.stdout, made.output
    verified = run(app, ["memory", "verify", memory]).stdout
    assert "sound: 12" in verified
    assert "told right" not in verified  # priors are no images, by which to judge it
    assert run(app, ["memory", "list", memory, "--label", "ant"]).stdout.splitlines()[0] == "prior:0:0  ant  head"
    answer = json.loads(run(app, ["memory", "recall", memory, image, "--json"]).stdout)
    told = json.loads(run(app, ["predict", image, "--model", str(model), "--json"]).stdout)
    assert answer["labels"][0]["label"] == told["labels"][0]["label"], told
    linear = save_small_checkpoint(tmp_path / "linear")
    words = ["memory", "create", str(tmp_path / "none"), "--model", str(linear), "--start", "head"]
    assert "linear has no associative head" in run(app, words).stderr
