"""A command writes its section of a page, and nothing else of it."""

from pathlib import Path

import pytest

from training.errors import DataError
from training.experiments.page import replace_section


def test_a_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- begin one -->old<!-- end one -->\n<!-- begin two -->kept<!-- end two -->\n")
    replace_section(page, "one", "| a |\n")
    expected = "# Title\n<!-- begin one -->\n\n| a |\n\n<!-- end one -->\n<!-- begin two -->kept<!-- end two -->\n"
    assert page.read_text() == expected
    with pytest.raises(DataError, match="begin three"):
        replace_section(page, "three", "")
