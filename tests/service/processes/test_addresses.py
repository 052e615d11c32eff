"""Addresses at which servers of this machine are reached."""

import pytest

from service.processes.addresses import reachable_host, url_of


@pytest.mark.parametrize(
    ("host", "reachable", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "127.0.0.1", "http://127.0.0.1:80"),
        ("::", "::1", "http://[::1]:80"),
        ("fe80::1", "fe80::1", "http://[fe80::1]:80"),
    ],
)
def test_a_wildcard_is_not_an_address_to_connect_to(host: str, reachable: str, url: str) -> None:
    assert reachable_host(host) == reachable
    assert url_of(host, 80) == url
