"""Addresses of this machine's servers."""

from __future__ import annotations


def reachable_host(host: str) -> str:
    """Name the address at which a client on this machine reaches a server that listens on `host`.

    A wildcard address is one to listen on, not one to connect to.
    """
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """Write the URL that a browser on this machine opens for a server that listens on `host` and `port`."""
    host = reachable_host(host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
