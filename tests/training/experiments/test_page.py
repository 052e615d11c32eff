"""A command writes its section of a page, and nothing else of it."""

from pathlib import Path

import pytest

from training.errors import DataError
from training.experiments.page import replace_linked, replace_section


def test_a_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- begin one -->old<!-- end one -->\n<!-- begin two -->kept<!-- end two -->\n")
    replace_section(page, "one", "| a |\n")
    expected = "# Title\n<!-- begin one -->\n\n| a |\n\n<!-- end one -->\n<!-- begin two -->kept<!-- end two -->\n"
    assert page.read_text() == expected
    with pytest.raises(DataError, match="begin three"):
        replace_section(page, "three", "")


def test_files_that_a_page_links_are_replaced(tmp_path: Path) -> None:
    page, made = tmp_path / "docs" / "page.md", tmp_path / "made"
    made.mkdir()
    for name in ("one.json", "one.png", "two.png"):
        (made / name).write_text(name)
    page.parent.mkdir()
    page.write_text("[figures](data/one.json) ![plot](images/one.png) [theirs](https://a.example/two.png) two.png")
    written = replace_linked(page, sorted(made.iterdir()))
    assert written == [page.parent / "data" / "one.json", page.parent / "images" / "one.png"]
    assert [path.read_text() for path in written] == ["one.json", "one.png"]
    assert sorted(path.name for path in page.parent.rglob("*.*")) == ["one.json", "one.png", "page.md"]
