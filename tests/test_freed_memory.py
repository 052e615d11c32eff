"""What becomes of freed memory, in processes of their own: the settings are for a whole process."""

from __future__ import annotations

import platform
import subprocess
import sys

GLIBC = platform.libc_ver()[0] == "glibc"

SCRIPT = """
import psutil
from ait_lite.allocator import keep_freed_memory
from service.processes.machine import return_freed_memory

assert {call}() is {taken}
process = psutil.Process()
del bytearray(30 << 20)[:]  # after it, glibc would take blocks of that size from the heap
before = process.memory_info().rss
blocks = [bytearray(b"x") * (8 << 20) for _ in range(20)]
del blocks[:-1]  # the last one lies above them
print((process.memory_info().rss - before) >> 20)
"""


def megabytes_left(call: str) -> int:
    """What a process still holds of 160 MiB when 152 have been freed."""
    script = SCRIPT.format(call=call, taken=GLIBC)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(ended.stdout)


def test_freed_memory_is_returned_or_kept() -> None:
    assert megabytes_left("return_freed_memory") < (20 if GLIBC else 200)
    assert megabytes_left("keep_freed_memory") > (100 if GLIBC else -1)


RETURNED = """
import psutil
from ait_lite.allocator import keep_freed_memory, trim_heap

keep_freed_memory()
blocks = [bytearray(b"x") * (8 << 20) for _ in range(20)]
del blocks[:-1]
before = psutil.Process().memory_info().rss
assert trim_heap() is {taken}
print((before - psutil.Process().memory_info().rss) >> 20)
"""


def test_kept_memory_is_returned_when_asked() -> None:
    script = RETURNED.format(taken=GLIBC)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ended.stdout) > (100 if GLIBC else -1)
