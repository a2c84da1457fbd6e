"""Measures how long a proxy takes to start: `python tests/start.py`. Not a test: the machine decides."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import List

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    begun = time.perf_counter()
    import weir

    took: List[float] = [(time.perf_counter() - begun) * 1000]
    closed: List[float] = []
    config = weir.forward("127.0.0.1:8080")
    for _ in range(101):
        begun = time.perf_counter()
        proxy = weir.Proxy(config, log=None)
        took.append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        proxy.close()
        closed.append((time.perf_counter() - begun) * 1000)
    print(f"import {took[0]:.1f} ms; first start {took[1]:.1f} ms, with the library loaded")
    later = sorted(took[2:])
    print(f"later starts: median {statistics.median(later):.2f} ms, slowest {later[-1]:.2f} ms of {len(later)}")
    print(f"close: median {statistics.median(closed):.2f} ms; {weir.library_path()}")


if __name__ == "__main__":
    main()
