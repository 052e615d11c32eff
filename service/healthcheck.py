"""Ask the server of this machine whether it is ready (`python -m service.healthcheck`), in containers without curl."""

from __future__ import annotations

import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from service.errors import SettingsError
from service.processes.addresses import reachable_host
from service.settings import Settings, load_settings

TIMEOUT_SECONDS = 4.0


def check(settings: Settings, timeout: float = TIMEOUT_SECONDS) -> str | None:
    """Ask `/health/ready` at the address that a server with these settings listens on.

    Returns:
        None if requests are answered, else the reason why not.
    """
    host = reachable_host(settings.host)
    if settings.tls_cert is None:
        connection = HTTPConnection(host, settings.port, timeout=timeout)
    else:
        # This machine's own server has a certificate for another name, and nothing secret is sent to it.
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, settings.port, timeout=timeout, context=unchecked)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        text = answer.read(1000).decode(errors="replace")
    except (OSError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        where = f"{host} port {settings.port}"
        return f"No server answers on {where}: {reason}. Start it, or set HOST and PORT as it has them."
    finally:
        connection.close()
    return None if answer.status == 200 else f"The server on {host} port {settings.port} is not ready: {text}"


def main() -> int:
    """Check and return the exit code: 0 ready, 1 not ready, 2 a setting is wrong."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    reason = check(settings)
    if reason:
        print(reason, file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
