"""Read the certificate with which the server answers HTTPS."""

from __future__ import annotations

import ssl
from pathlib import Path

from service.errors import SettingsError
from service.settings import Settings


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Read the certificate and the key that the settings name.

    Returns:
        The context of the server's connections; None where they are not encrypted.

    Raises:
        SettingsError: A file is missing or cannot be used, or the key is not that of the certificate.
    """
    if settings.tls_cert is None:
        if settings.tls_key is not None:
            raise SettingsError("AIT_TLS_KEY is set and AIT_TLS_CERT is not. Name the certificate of the key too.")
        return None
    certificate = _readable("AIT_TLS_CERT", settings.tls_cert)
    key = _readable("AIT_TLS_KEY", settings.tls_key) if settings.tls_key is not None else certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])

    def refuse() -> str:
        raise SettingsError(f"The private key in {key} is encrypted, and nobody is there to type its passphrase.")

    try:
        context.load_cert_chain(certificate, key, refuse)
    except ssl.SSLError as error:
        raise SettingsError(_reason(error, certificate, key)) from error
    return context


def _readable(name: str, path: str) -> Path:
    file = Path(path).expanduser()
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise SettingsError(f"{name}={path} cannot be read: {error.strerror}. Name a PEM file.") from None


def _reason(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    """Say what is wrong with two files that can be read."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"The private key in {key} is not that of the certificate in {certificate}. Set AIT_TLS_KEY to its own."
    if "PRIVATE KEY-----" not in key.read_text(errors="replace"):
        return f"{key} holds no private key in PEM form. Name the file that does with AIT_TLS_KEY."
    return (
        f"The certificate in {certificate} (AIT_TLS_CERT) and the key in {key} (AIT_TLS_KEY) cannot be used: "
        f"{error.reason or error}. Both must be in PEM form."
    )
