"""Tables of measurements keep what they say, however long the figures are."""

from io import StringIO

import pytest
from rich.console import Console

from ait_cli.measurement.tables import readout_table, wide_console


def test_no_name_or_figure_of_readouts_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    compared = {"difference": -1.0, "interval": [-1.0, 1.0], "only_first": 10_000, "only_second": 10_000, "p_value": 0}
    share = {"accuracy": 1.0, "interval": [1.0, 1.0]}
    readout = {"readout": "associative", **share, "against_head": compared}
    result = {"examples": 50_000, "classes": 10, "images": 10_000, "head": share, "readouts": [readout]}
    console = Console(width=wide_console().width, file=StringIO())
    console.print(readout_table(result))
    told = console.file.getvalue()
    assert "…" not in told
    for each in ("associative", "accuracy", "100.00 to 100.00", "-100.00 (-100.00 to +100.00)", "10,000", "0.000"):
        assert each in told
