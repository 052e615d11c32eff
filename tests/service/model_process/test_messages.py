from __future__ import annotations

import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.model_process import messages

HEADERS = st.dictionaries(
    st.text(max_size=5).filter(lambda name: name != "arrays"),
    st.none() | st.integers() | st.text(max_size=9),
    max_size=3,
)
ARRAY = st.builds(
    lambda kind, shape: np.arange(np.prod(shape)).reshape(shape).astype(kind),
    st.sampled_from([np.uint8, np.float32, np.int64, np.bool_]),
    st.lists(st.integers(0, 5), max_size=3),
)
ARRAYS = st.dictionaries(st.text(max_size=5), ARRAY, max_size=4)


def assert_same(message: messages.Message | None, header: dict[str, object], sent: dict[str, np.ndarray]) -> None:
    assert message
    assert message.header == header
    assert message.arrays.keys() == sent.keys()
    for name, array in sent.items():
        assert message.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(message.arrays[name], array)


@hypothesis_settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(HEADERS, ARRAYS), max_size=4), st.data())
def test_what_is_sent_arrives_in_whatever_pieces(
    sent: list[tuple[dict[str, object], dict[str, np.ndarray]]], data: st.DataObject
) -> None:
    stream = b"".join(part for each in sent for part in messages.encode(*each))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder = messages.Decoder()
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += decoder.feed(stream[start:end])
    assert len(received) == len(sent)
    for message, (header, sent_arrays) in zip(received, sent, strict=True):
        assert_same(message, header, sent_arrays)


def test_between_blocking_sockets() -> None:
    ours, theirs = socket.socketpair()
    large = {"a": np.arange(300_000, dtype=np.float32).reshape(3, 100_000).T}  # neither contiguous nor small
    with ours, theirs:
        thread = threading.Thread(target=messages.send, args=(ours, {"id": 1}, large))
        thread.start()
        assert_same(messages.receive(theirs), {"id": 1}, large)
        thread.join()
        ours.sendall(b"".join(messages.encode({"id": 2}))[:-1])
        ours.close()
        assert messages.receive(theirs) is None


def test_objects_are_not_sent() -> None:
    with pytest.raises(TypeError, match="'a'"):
        messages.encode({}, {"a": np.array([object()])})
