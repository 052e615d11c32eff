"""The checkpoints that come with the library."""

from pathlib import Path

from ait_lite.checkpoint import bundled_models, read_config, resolve


def test_bundled_models_are_found_by_name() -> None:
    (name, folder), *_ = bundled_models().items()
    assert read_config(folder)["architecture"] == name.partition(".")[0]
    assert resolve(name) == folder
    assert resolve("elsewhere") == Path("elsewhere")
