"""Signals are noted while a run is in progress."""

import signal

import pytest

from training.run.interruption import Interruption


def test_second_interrupt_is_immediate_and_handlers_return() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal_number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
