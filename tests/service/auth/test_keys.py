"""API keys: lists of them, where a request carries one, and how one is made."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app as cli
from service.auth.keys import Key, KeyRing, KeysError, new_key, parse_keys, presented_key
from tests.support.processes.waiting import CEILING
from tests.support.servers.keys import sha256


def test_a_list_of_keys() -> None:
    digest = sha256("x")
    text = f"""
    # a comment
    one {digest}          # unlimited
    two {digest.upper()} 2.5
    three@b.c {digest} 0.1, four {digest} 10 3
    five {digest} teach
    six {digest} 10 3 admin
    """
    raw = bytes.fromhex(digest)
    assert parse_keys(text, "file") == [
        Key("one", raw),
        Key("two", raw, 2.5, 3),
        Key("three@b.c", raw, 0.1, 1),
        Key("four", raw, 10.0, 3),
        Key("five", raw, scope="teach"),
        Key("six", raw, 10.0, 3, scope="admin"),
    ]
    assert parse_keys("", "file") == []


def test_a_scope_allows_those_below_it() -> None:
    scopes = ("recall", "teach", "admin")
    allowed = {scope: [each for each in scopes if Key("a", b"", scope=scope).allows(each)] for scope in scopes}
    assert allowed == {"recall": ["recall"], "teach": ["recall", "teach"], "admin": ["recall", "teach", "admin"]}
    ring = KeyRing(None, None, sha256("root"))
    root = ring.find(b"root")
    assert root is not None
    assert root.allows("admin")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lonely", "1 words"),
        (f"a {sha256('x')} 1 2 3", "5 words"),
        (f"a/b {sha256('x')}", "the name"),
        ("a 123", "not a SHA-256"),
        (f"a {sha256('x')} 0", "rate 0"),
        (f"a {sha256('x')} nan", "rate nan"),
        (f"a {sha256('x')} 1 many", "burst many"),
        (f"a {sha256('x')} write", "rate write"),
        (f"a {sha256('x')} teach admin", "rate teach"),
        (f"admin {sha256('x')}", "taken"),
        (f"a {sha256('x')}, a {sha256('y')}", "taken"),
    ],
)
def test_wrong_lists_are_refused_by_line(line: str, words: str) -> None:
    with pytest.raises(KeysError, match=re.escape(words)) as caught:
        parse_keys(f"\n{line}", "keys.txt")
    assert "keys.txt, line 2" in str(caught.value)
    assert sha256("x") not in str(caught.value)


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, now = tmp_path / "keys", 0.0
    file.write_text(f"old {sha256('old')}\n")
    ring = KeyRing(None, str(file), clock=lambda: now)

    def known(key: str) -> bool:
        return ring.find(key.encode()) is not None

    assert known("old")
    file.write_text(f"new {sha256('new')} 5\n")
    assert known("old")  # it is not looked at more than once a second
    now = 2.0
    assert (known("old"), known("new")) == (False, True)
    now = 4.0
    file.write_text("broken")
    assert known("new")
    now = 6.0
    file.unlink()
    assert known("new")
    now = 8.0
    file.write_text(f"newest {sha256('newest')}\n")
    assert (known("new"), known("newest")) == (False, True)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="cannot be read"):
        KeyRing(None, str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(KeysError, match="not text"):
        KeyRing(None, str(tmp_path / "binary"))
    listed = f"ci {sha256('a key')}"
    (tmp_path / "twice").write_text(listed)
    with pytest.raises(KeysError, match="ci"):
        KeyRing(listed, str(tmp_path / "twice"))


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"authorization": "Bearer abc"}, b"abc"),
        ({"authorization": "bearer  abc "}, b"abc"),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "Digest abc"}, None),
        ({"x-api-key": "abc"}, b"abc"),
        ({"x-api-key": " "}, None),
        ({"x-api-key": "\xe4"}, b"\xe4"),
        ({"authorization": "Bearer abc", "x-api-key": "def"}, b"abc"),
        ({"authorization": "Digest abc", "x-api-key": "def"}, b"def"),
        ({"authorization": "Basic " + base64.b64encode(b"user:a:c").decode()}, b"a:c"),
        ({"authorization": "Basic " + base64.b64encode(b"user:").decode()}, None),
        ({"authorization": "Basic ?"}, None),
        ({"authorization": "Basic \xff"}, None),
        ({"authorization": "Basic \xff", "x-api-key": "a"}, b"a"),
    ],
)
def test_where_a_key_may_stand(headers: dict[str, str], key: bytes | None) -> None:
    assert presented_key(headers) == key


def test_making_a_key() -> None:
    key, digest = new_key()
    assert len(key) >= 43
    assert sha256(key) == digest
    assert new_key()[0] != key
    result = CliRunner().invoke(cli, ["key", "ci", "--rate", "2", "--burst", "5"])
    assert result.exit_code == 0
    secret = re.search(r"only now: +(\S+)", result.stderr)
    assert secret
    assert parse_keys(result.stdout, "file") == [Key("ci", hashlib.sha256(secret[1].encode()).digest(), 2.0, 5)]
    scoped = CliRunner().invoke(cli, ["key", "teacher", "--scope", "teach"])
    assert [key.scope for key in parse_keys(scoped.stdout, "file")] == ["teach"]
    assert CliRunner().invoke(cli, ["key", "teacher", "--scope", "write"]).exit_code == 2
    assert CliRunner().invoke(cli, ["key", "admin"]).stdout.startswith("AIT_ADMIN_KEY_SHA256=")
    assert CliRunner().invoke(cli, ["key", "no/name"]).exit_code == 1


def test_making_a_key_waits_for_no_library() -> None:
    script = "import sys, service.auth.keys; assert not {'pydantic', 'numpy', 'PIL'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=CEILING)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a b"], "'a b' cannot be a key's name"),
        (["bob,x"], "'bob,x' cannot be a key's name"),
        (["alice", "--burst", "5"], "--burst goes with --rate"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_key(words: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["key", *words])
    assert result.exit_code == 1
    assert message in result.stderr
