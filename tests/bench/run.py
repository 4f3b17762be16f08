"""Measures everything and writes docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.bench import asof, backfill, engines, fleet, health, reset

SECTIONS = [reset.main, backfill.main, asof.main, engines.main, health.main, fleet.main]
DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs/benchmarks.md"


def main() -> None:
    """Write the document anew; what fails leaves the old one."""
    head = (
        "# Benchmarks\n\n"
        "Written by `make bench`; every ratio is of two figures of the same run on the same machine.\n"
        f"This run: {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}.\n\n"
    )
    DOCUMENT.write_text(head + "\n\n".join(section().strip() for section in SECTIONS) + "\n")
    print(DOCUMENT.read_text())


if __name__ == "__main__":
    main()
