"""A catalogue outlives whatever one of its entries holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ait_lite.checkpoint.constants import MOST_CONFIG_BYTES
from service.repository.catalogue import Catalogue
from service.repository.folders import MOST_SERVING_BYTES, ModelError, ModelKey, read_serving

LOCKED = "locked"


@pytest.fixture
def root(tmp_path: Path, model_folder: Path) -> Path:
    """A folder of models: `colours` with the versions 1 and 2."""
    for version in ("1", "2"):
        shutil.copytree(model_folder, tmp_path / "root" / "colours" / version)
    return tmp_path / "root"


def deny(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder and what is in it unreadable, also for a superuser."""
    stat, scandir, listdir = Path.stat, __import__("os").scandir, __import__("os").listdir

    def denied(path: object) -> None:
        if str(path) == str(folder) or str(path).startswith(f"{folder}/"):
            raise PermissionError(13, "Permission denied", str(path))

    def checked_stat(self: Path, **options: bool) -> object:
        if self != folder:
            denied(self)
        return stat(self, **options)

    def checked_scandir(path: object = ".") -> object:
        denied(path)
        return scandir(path)

    def checked_listdir(path: object = ".") -> object:
        denied(path)
        return listdir(path)

    monkeypatch.setattr(Path, "stat", checked_stat)
    monkeypatch.setattr("os.scandir", checked_scandir)
    monkeypatch.setattr("os.listdir", checked_listdir)


def look(root: Path, catalogue: Catalogue | None = None) -> Catalogue:
    catalogue = catalogue or Catalogue(None, str(root))
    catalogue.look()
    return catalogue


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        (" " * (MOST_CONFIG_BYTES + 1), "larger than"),
        ("[]", "not a JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_a_configuration_that_cannot_be_read_keeps_nothing_else_out(root: Path, text: str, reason: str) -> None:
    (root / "colours" / "2" / "config.json").write_text(text)
    catalogue = look(root)
    assert catalogue.order() == [ModelKey("colours", "2"), ModelKey("colours", "1")]
    with pytest.raises(ModelError, match=reason):
        catalogue.read(ModelKey("colours", "2"))
    assert catalogue.read(ModelKey("colours", "1")).architecture == "test_vit"


@pytest.mark.parametrize("text", ["[" * 60_000, " " * (MOST_SERVING_BYTES + 1)])
def test_settings_that_cannot_be_read_are_the_matter_of_one_model(root: Path, text: str) -> None:
    folder = root / "colours" / "1"
    (folder / "serving.json").write_text(text)
    assert len(look(root).order()) == 2
    with pytest.raises(ModelError, match=r"serving\.json"):
        read_serving(folder)


def test_a_model_without_access_is_listed_with_the_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(root / "colours", root / LOCKED)
    with monkeypatch.context() as patch:
        deny(patch, root / LOCKED)
        catalogue = look(root)
        assert [key.name for key in catalogue.order()] == ["colours", "colours"]
        entry = catalogue.entries[ModelKey(LOCKED, "1")]
        assert "Permission denied" in entry.reason
        assert catalogue.relative(entry.reason).startswith(f"{LOCKED} cannot be read")
    look(root, catalogue)
    assert len(catalogue.order()) == 4
    assert catalogue.entries[ModelKey(LOCKED, "1")].reason == ""
    deny(monkeypatch, root / LOCKED)
    look(root, catalogue)
    assert {key.version for key in catalogue.entries if key.name == LOCKED} == {"1", "2"}
    assert all("Permission" in entry.refused for key, entry in catalogue.entries.items() if key.name == LOCKED)


def test_a_version_without_access_is_listed_with_the_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deny(monkeypatch, root / "colours" / "2")
    catalogue = look(root)
    assert catalogue.order() == [ModelKey("colours", "1")]
    assert "Permission denied" in catalogue.entries[ModelKey("colours", "2")].reason


@pytest.mark.parametrize("name", ["v3", "1.0", "V10", "2024-01-31", "latest"])
def test_versions_that_are_no_numbers_are_listed_with_the_reason(root: Path, name: str) -> None:
    shutil.copytree(root / "colours" / "1", root / "colours" / name)
    catalogue = look(root)
    assert [key.version for key in catalogue.order()] == ["2", "1"]
    assert "not a whole number" in catalogue.entries[ModelKey("colours", name)].reason


@pytest.mark.parametrize("name", ["@eaDir", "notes", "__MACOSX", ".v3"])
def test_other_folders_are_no_versions(root: Path, name: str) -> None:
    (root / "colours" / name).mkdir()
    assert {key.version for key in look(root).entries} == {"1", "2"}
