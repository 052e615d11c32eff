"""API keys: lists of them, and which one a request carries. The server knows only their SHA-256.

A list names a key in a line `NAME SHA256 [RATE [BURST]] [SCOPE]`: a name for the log, 64 hexadecimal digits and, where
the key is limited, requests per second and how many may come at once. The scope says what the key may do with
memories: `recall` (the default) asks them, `teach` also changes them, `admin` also deletes and replaces them. Lines
may also be separated by commas.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from service.errors import SettingsError

if TYPE_CHECKING:  # `ait key` shall not wait for pydantic
    from service.settings import Settings

logger = logging.getLogger(__name__)

ADMIN: Final = "admin"  # the name of the admin key in the log

Scope = Literal["recall", "teach", "admin"]
_SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)  # each may do what those before it may

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_CHECK_SECONDS = 1.0  # between two checks whether the file has changed


class KeysError(SettingsError):
    """Raised where a list of keys cannot be used; the message names the line and what is wrong with it."""


@dataclass(frozen=True)
class Key:
    """A key as the server knows it.

    Attributes:
        name: for the log.
        digest: SHA-256 of the key, 32 bytes.
        rate: requests per second; None is unlimited.
        burst: requests that may come at once.
        scope: what it may do with memories.
    """

    name: str
    digest: bytes
    rate: float | None = None
    burst: int = 1
    scope: Scope = "recall"

    def allows(self, scope: Scope) -> bool:
        """Return whether the key's scope includes another one."""
        return _SCOPES.index(self.scope) >= _SCOPES.index(scope)


def new_key() -> tuple[str, str]:
    """Make a random key; return it and its SHA-256 in hexadecimal."""
    key = secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


def parse_keys(text: str, source: str) -> list[Key]:
    """Read a list of keys; empty lines and what follows a # are skipped.

    Args:
        text: the list.
        source: where the list comes from, for messages.

    Returns:
        The keys in their order.

    Raises:
        KeysError: a line is malformed, or a name comes twice.
    """
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for entry in line.partition("#")[0].split(","):
            if not (fields := entry.split()):
                continue
            try:
                key = _key(fields)
            except ValueError as error:
                form = "A key is NAME SHA256 [RATE [BURST]] [SCOPE]."
                raise KeysError(f"{source}, line {number}: {error} {form}") from None
            if key.name in keys or key.name == ADMIN:
                raise KeysError(f"{source}, line {number}: the name {key.name} is taken. Give each key its own.")
            keys[key.name] = key
    return list(keys.values())


def _key(fields: list[str]) -> Key:
    scope: Scope = "recall"
    for known in _SCOPES:
        if len(fields) > 2 and fields[-1] == known:
            scope, fields = known, fields[:-1]
            break
    if not 2 <= len(fields) <= 4:
        raise ValueError(f"there are {len(fields)} words.")
    name, digest = fields[:2]
    if not _NAME.fullmatch(name):
        raise ValueError("the name has other characters than letters, digits and . _ @ -.")
    if not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise ValueError(f"what follows {name} is not a SHA-256, which has 64 hexadecimal digits.")
    rate = _positive(fields[2], "rate") if len(fields) > 2 else None
    burst = math.ceil(rate) if rate else 1
    if len(fields) > 3:
        burst = math.floor(_positive(fields[3], "burst"))
    return Key(name, bytes.fromhex(digest), rate, max(1, burst), scope)


def _positive(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"the {what} {text} is not a number above 0.")
    return number


def presented_key(headers: Mapping[str, str]) -> bytes | None:
    """Return the key that a request carries, as it was on the wire; None without one.

    A request carries it as `Authorization: Bearer KEY`, as the password of basic authentication with any user
    name, or as `X-API-Key: KEY`.
    """
    scheme, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return value.encode("latin-1")
    if scheme.lower() == "basic":
        try:
            if password := base64.b64decode(value.encode("latin-1"), validate=True).partition(b":")[2]:
                return password
        except binascii.Error:
            pass
    return headers.get("x-api-key", "").strip().encode("latin-1") or None


class KeyRing:
    """All keys of a server. A file of keys is read again when it has changed."""

    def __init__(
        self,
        listed: str | None = None,
        file: str | None = None,
        admin_sha256: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the keys.

        Args:
            listed: as the setting `AIT_API_KEYS`.
            file: as the setting `AIT_API_KEYS_FILE`.
            admin_sha256: as the setting `AIT_ADMIN_KEY_SHA256`.
            clock: tells seconds.

        Raises:
            KeysError: a list cannot be used.
        """
        self.required = listed is not None or file is not None
        self._admin = bytes.fromhex(admin_sha256) if admin_sha256 else None
        self._listed = parse_keys(listed or "", "AIT_API_KEYS")
        self._file = Path(file).expanduser() if file is not None else None
        self._clock, self._checked, self._stamp = clock, clock(), self._stat()
        self._keys = self._read()

    @classmethod
    def of(cls, settings: Settings) -> KeyRing:
        """Read the keys that the settings name.

        Raises:
            KeysError: a list cannot be used.
        """
        return cls(settings.api_keys, settings.api_keys_file, settings.admin_key_sha256)

    @property
    def has_admin(self) -> bool:
        """True where there is an admin key."""
        return self._admin is not None

    def is_admin(self, key: bytes) -> bool:
        """Return whether this is the admin key."""
        return self._admin is not None and hmac.compare_digest(hashlib.sha256(key).digest(), self._admin)

    def find(self, key: bytes) -> Key | None:
        """Find a key in the list; None if it is not there. The time it takes does not tell where it was found."""
        self._refresh()
        digest = hashlib.sha256(key).digest()
        found = Key(ADMIN, digest, scope=ADMIN) if self.is_admin(key) else None
        for each in self._keys:
            if hmac.compare_digest(each.digest, digest):
                found = each
        return found

    def _refresh(self) -> None:
        """Read the file again if it has changed; one that cannot be used is logged, and the keys stay."""
        now = self._clock()
        if self._file is None or now < self._checked + _CHECK_SECONDS:
            return
        self._checked = now
        stamp = self._stat()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = self._read()
            logger.info("%s has changed: it has %d keys now", self._file, len(self._keys) - len(self._listed))
        except KeysError as error:
            logger.error("the API keys stay as they were: %s", error)

    def _read(self) -> list[Key]:
        if self._file is None:
            return self._listed
        try:
            keys = parse_keys(self._file.read_text(), str(self._file))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise KeysError(f"AIT_API_KEYS_FILE={self._file} cannot be read: {reason}. Name a file of keys.") from None
        if taken := {key.name for key in keys} & {key.name for key in self._listed}:
            raise KeysError(f"The name {min(taken)} is in AIT_API_KEYS and in {self._file}. Give each key its own.")
        return [*self._listed, *keys]

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            stat = self._file.stat() if self._file else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else None
