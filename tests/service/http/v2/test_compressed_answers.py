"""Large answers of a server process are compressed for clients that ask for it."""

from __future__ import annotations

import httpx

from tests.support.servers.v2_clients import MODEL


def test_a_large_answer_is_compressed_for_who_asks(url: str) -> None:
    item = {"name": "pixels", "shape": [32, 3, 32, 32], "datatype": "FP32", "data": [0] * 32 * 3 * 32 * 32}
    seen = {}
    for accepted in ("gzip", "deflate", "br", "identity"):
        headers = {"Accept-Encoding": accepted}
        response = httpx.post(f"{url}/v2/models/{MODEL}/infer", json={"inputs": [item]}, headers=headers)
        seen[response.headers.get("content-encoding")] = len(response.json()["outputs"][0]["data"])
        assert response.headers["vary"] == "Accept-Encoding"
    assert seen == {"gzip": 96, "deflate": 96, None: 96}
