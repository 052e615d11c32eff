"""What the processor can do."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux calls them, on x86 and on Arm


def processor_features() -> frozenset[str]:
    """List the features of the first processor, as Linux names them; elsewhere only its name is known."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset({platform.processor()})


def has_bf16() -> bool:
    """Find out whether the processor has bf16 arithmetic; without it, that is slower than float32."""
    return bool(_BF16 & processor_features())
