"""Large images sent by several clients to a server in a control group with little memory; it must survive them.

    sudo python -m tests.support.stress.limited_memory --megabytes 900 --pixels 3900x3900

needs the right to make control groups, and reports statuses and the most memory that was used.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.images.service_images import encode, scene
from tests.support.servers.running_server import SERVE, running_server

ROOT = Path("/sys/fs/cgroup")
NAMES = {  # of the limit, of the most that was used, and of what says how often the kernel ended a process
    "memory.max": ("memory.peak", "memory.events"),
    "memory.limit_in_bytes": ("memory.max_usage_in_bytes", "memory.oom_control"),
}


@contextmanager
def control_group(limit: int) -> Iterator[Path]:
    """Make a control group with so many bytes of memory; no process may be left in it on leaving."""
    parent = ROOT / "memory" if (ROOT / "memory").is_dir() else ROOT
    group = parent / f"ait-test-{os.getpid()}"
    group.mkdir()
    try:
        next(group / name for name in NAMES if (group / name).exists()).write_text(str(limit))
        yield group
    finally:
        group.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=900)
    parser.add_argument("--pixels", default="3900x3900")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--requests", type=int, default=8, help="of a client")
    parser.add_argument("--workers", default="1")
    options = parser.parse_args()
    width, height = map(int, options.pixels.split("x"))
    image = encode(scene(64, 64).resize((width, height)), "JPEG", quality=30, progressive=True)
    with control_group(options.megabytes * 1_000_000) as group:
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *SERVE]
        with running_server("--workers", options.workers, command=command, AIT_ACCESS_LOG="false") as (url, _):

            def ask(_: int) -> Counter[int]:
                statuses: Counter[int] = Counter()
                for _ in range(options.requests):
                    answer = httpx.post(f"{url}/v1/classify", content=image, timeout=300)
                    statuses[answer.status_code] += 1
                    time.sleep(float(answer.headers.get("retry-after", 0)))
                return statuses

            with ThreadPoolExecutor(options.clients) as pool:
                statuses = sum(pool.map(ask, range(options.clients)), Counter[int]())
            ready = httpx.get(f"{url}/health/ready", timeout=60).status_code
            peak, killed = next((group / p, group / k) for name, (p, k) in NAMES.items() if (group / name).exists())
            used = int(peak.read_text()) / 1e6
            print(f"statuses {dict(statuses)}, ready {ready}, at most {used:.0f} MB of {options.megabytes}")
            print(killed.read_text())
    return int(not statuses.keys() <= {200, 413, 429} or ready != 200)


if __name__ == "__main__":
    raise SystemExit(main())
