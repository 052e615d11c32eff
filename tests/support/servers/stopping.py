"""What a client sees of a server that takes requests, or is about to stop."""

from __future__ import annotations

import httpx

from tests.support.processes.waiting import CEILING


def requests_in_progress(url: httpx.URL | str, **headers: str) -> int:
    """Return how many requests a server works on, that for the metrics being one of them."""
    text = httpx.get(f"{url}/metrics", headers=headers, timeout=CEILING).text
    lines = [line for line in text.splitlines() if line.startswith("ait_requests_in_progress{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def is_stopping(url: httpx.URL | str) -> bool:
    """Return whether a server says that it stops, or takes no connections any more."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=CEILING).status_code == 503
    except httpx.TransportError:
        return True
