"""Reading and changing a checkpoint's configuration."""

import json
from pathlib import Path

import pytest

from ait_lite.checkpoint import CheckpointError, read_config, update_config, write_text
from ait_lite.checkpoint.constants import MOST_CONFIG_BYTES


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"text"', "[" * 100_000, "{" + " " * MOST_CONFIG_BYTES + "}"],
    ids=["empty", "torn", "list", "string", "nested", "huge"],
)
def test_a_configuration_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_missing_configuration_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: No such file"):
        read_config(tmp_path)
    with pytest.raises(CheckpointError, match=r"There is no folder .*none"):
        read_config(tmp_path / "none")


def test_some_keys_are_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "config.json", json.dumps({"a": 1, "b": 2}))
    update_config(tmp_path, {"b": 3})
    assert read_config(tmp_path) == {"a": 1, "b": 3}
