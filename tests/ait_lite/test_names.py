"""Paths as printable names, and back."""

import pytest

from ait_lite.names import to_name, to_path


@pytest.mark.parametrize("path", ["plain/\u00e9.png", "a\nb", "\udcff\\n", "\\\\n\\u2028", "\x85\u2029\x00", "\\xff"])
def test_names_lead_back_to_their_paths(path: str) -> None:
    assert to_path(to_name(path)) == path
    assert "\n" not in to_name(path)
