"""Settings come from the environment, and wrong ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import SettingsError
from service.settings import Settings, load_settings, misspelt_settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("AIT_MODEL", "somewhere")
    monkeypatch.setenv("AIT_MAX_PIXELS", "1000")
    monkeypatch.setenv("AIT_TOP_K", "")
    settings = load_settings(port=None, model="elsewhere")
    assert (settings.host, settings.port, settings.model) == ("0.0.0.0", 9000, "elsewhere")
    assert (settings.max_pixels, settings.top_k) == (1000, 5)


@pytest.mark.parametrize(("name", "value"), [("PORT", "99999"), ("AIT_MAX_FILES", "0"), ("AIT_MAX_BATCH", "many")])
def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert value in str(caught.value)


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert f"AIT_{name.upper()}" in (field.description or ""), name


def test_a_key_in_place_of_its_hash_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIT_ADMIN_KEY_SHA256", "the secret itself")
    with pytest.raises(SettingsError, match="AIT_ADMIN_KEY_SHA256") as caught:
        load_settings()
    assert "the secret itself" not in str(caught.value)


def test_variables_that_are_nearly_settings_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("AIT_MAX_BACTH=4\nAIT_TOP_K=2\nOTHER=1\n")
    monkeypatch.setenv("AIT_MODLES", "somewhere")
    for name in ("AIT_MODELS", "ait_top_k", "AIT_SERVICE_HOST", "AIT_PORT_8000_TCP_ADDR", "AIT_KEY"):
        monkeypatch.setenv(name, "1")
    assert list(misspelt_settings()) == [
        "AIT_MAX_BACTH is not a setting and is ignored; did you mean AIT_MAX_BATCH?",
        "AIT_MODLES is not a setting and is ignored; did you mean AIT_MODELS?",
    ]


def test_no_setting_passes_for_another_one_misspelt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.setenv(f"AIT_{name.upper()}", "1")
    assert not list(misspelt_settings())


@pytest.mark.parametrize("content", [b"AIT_MODEL=\xff\n", "AIT_TOP_K=3".encode("utf-16")])
def test_a_file_that_is_no_text_is_named(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes(content)
    with pytest.raises(SettingsError, match=r"\.env cannot be read: it is not UTF-8 text"):
        load_settings()


def test_a_file_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", ".env")

    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("AIT_TOP_K=3")
    monkeypatch.setattr("dotenv.main.DotEnv._get_stream", refuse)
    with pytest.raises(SettingsError, match=r"\.env cannot be read: Permission denied"):
        load_settings()
