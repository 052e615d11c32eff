"""Servers that are started to be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.benchmark.systems import SYSTEMS, ServerError, System, check_installed, started


def test_a_server_that_does_not_start_is_shown_with_what_it_wrote(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=r"ait did not start:\s.*does not exist"),
        started(SYSTEMS["ait"], tmp_path / "nowhere", "cpu"),
    ):
        pass


def test_a_missing_package_comes_with_its_remedy() -> None:
    with pytest.raises(ServerError, match=r"associative-transformer\[bench\]"):
        check_installed(System("other", "m", "/", "/", needs="no_such_package"))
