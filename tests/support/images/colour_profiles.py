"""ICC profiles made by hand: RGB spaces by their primaries, grey by its gamma, and inks by a table."""

from __future__ import annotations

import struct

import numpy as np

# Columns: red, green and blue as XYZ under the profile connection space's white (D50).
DISPLAY_P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
ADOBE_RGB = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: tuple[tuple[float, ...], ...], gamma: float | None) -> bytes:
    """Make the profile of an RGB space; without a gamma, with sRGB's curve."""
    curve = _srgb_curve() if gamma is None else _gamma_curve(gamma)
    tags = {b"wtpt": _xyz(_D50), b"desc": _text("made by hand"), b"cprt": _text("none")}
    for column, name in enumerate(b"rgb"):
        tags[bytes([name]) + b"XYZ"] = _xyz(tuple(row[column] for row in primaries))
        tags[bytes([name]) + b"TRC"] = curve
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags)


def grey_profile(gamma: float) -> bytes:
    """Make the profile of a grey scale."""
    tags = {b"wtpt": _xyz(_D50), b"desc": _text("grey"), b"cprt": _text("none"), b"kTRC": _gamma_curve(gamma)}
    return _profile(b"GRAY", b"XYZ ", b"mntr", tags)


def cmyk_profile(paper_to_black: bool = True) -> bytes:
    """Make the profile of inks that only darken: lightness falls with each of them, and no ink has a hue."""
    corners = np.indices((2, 2, 2, 2)).reshape(4, -1).T  # (16, 4), the last ink fastest
    lightness = 100 * (1 - corners.mean(1)) if paper_to_black else np.full(16, 50.0)
    lab = np.stack([lightness * 652.8, np.full(16, 32768.0), np.full(16, 32768.0)], -1).round().astype(">u2")
    line = np.array([0, 65535], ">u2").tobytes()
    identity = struct.pack(">9i", *(65536 * value for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + struct.pack(">2H", 2, 2)
    table += line * 4 + lab.tobytes() + line * 3
    tags = {b"wtpt": _xyz(_D50), b"desc": _text("inks"), b"cprt": _text("none"), b"A2B0": table}
    return _profile(b"CMYK", b"Lab ", b"prtr", tags)


def _srgb_curve() -> bytes:
    value = np.linspace(0, 1, 1024)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + (linear * 65535).round().astype(">u2").tobytes()


def _gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _text(value: str) -> bytes:
    return b"text\0\0\0\0" + value.encode() + b"\0"


def _profile(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">2I", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, kind, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + table + body
