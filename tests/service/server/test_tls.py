"""A server that answers HTTPS, and certificates that cannot be used."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx
import pytest

from service import healthcheck
from service.errors import SettingsError
from service.server.run import serve
from service.server.tls import tls_context
from service.settings import Settings
from tests.support.images.service_images import encode, scene
from tests.support.models.prepared_models import GRAPH_ONLY
from tests.support.processes.waiting import CEILING
from tests.support.servers.certificates import write_certificate
from tests.support.servers.running_server import running_server

IMAGE = encode(scene())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_are_encrypted(graph_folder: Path, tmp_path: Path, workers: str) -> None:
    certificate, key = write_certificate(tmp_path)
    settings = {"AIT_TLS_CERT": str(certificate), "AIT_TLS_KEY": str(key), **GRAPH_ONLY}
    with running_server("--model", str(graph_folder), "--workers", workers, AIT_HEAD_SECONDS="2", **settings) as (
        url,
        _,
    ):
        assert url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=certificate)
        for _ in range(4):
            answer = httpx.post(f"{url}/v1/classify", content=IMAGE, verify=trusting, timeout=CEILING)
            assert answer.status_code == 200
            assert len(answer.json()["predictions"]) == 1
        address = httpx.URL(url).host, httpx.URL(url).port
        checked = Settings(_env_file=None, port=address[1], tls_cert=str(certificate), tls_key=str(key))
        assert healthcheck.check(checked, timeout=CEILING) is None
        for sent in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):  # no handshake
            with socket.create_connection(address, timeout=CEILING) as plain:
                plain.sendall(sent)
                assert b"HTTP" not in plain.makefile("rb").read()  # which ends when the server closes


def test_a_certificate_and_its_key_may_be_in_one_file(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    assert tls_context(Settings(_env_file=None, tls_cert=str(certificate)))
    assert tls_context(Settings(_env_file=None)) is None


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path / "one")
    _, other = write_certificate(tmp_path / "other")
    encrypted, secret = write_certificate(tmp_path / "encrypted", passphrase=b"secret")
    for cert, private, words in (
        (None, key, "AIT_TLS_CERT is not"),
        (tmp_path / "missing.pem", key, r"AIT_TLS_CERT=.*missing\.pem cannot be read: No such file"),
        (certificate, tmp_path, "AIT_TLS_KEY=.* cannot be read: Is a directory"),
        (certificate, None, "certificate.pem holds no private key"),
        (certificate, other, r"other/key\.pem is not that of the certificate in .*one"),
        (encrypted, secret, r"encrypted/key\.pem is encrypted"),
        (key, key, "must be in PEM form"),
    ):
        settings = Settings(_env_file=None, tls_cert=cert and str(cert), tls_key=private and str(private))
        with pytest.raises(SettingsError, match=words):
            tls_context(settings)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_says_so_before_it_starts(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    monkeypatch.setenv("AIT_TLS_CERT", "/no/such/file.pem")
    assert serve(port=0, model=str(model_folder), workers=workers) == 2
    written = capfd.readouterr()
    assert "/no/such/file.pem" in written.err
    assert "Traceback" not in written.err
    assert not written.out
