"""Measure all sections, or the named ones, and write them to docs/benchmarks.md: ``make bench ARGS='reset'``."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import asof, backfill, engines, fleet, health, reset

SECTIONS = {
    "first": reset.first,
    "reset": reset.main,
    "backfill": backfill.main,
    "asof": asof.main,
    "engines": engines.main,
    "health": health.main,
    "fleet": fleet.main,
}
DOCUMENT = ROOT / "docs/benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`. Every ratio compares two figures of the same run on the same machine.
"""


def stamped(section: str) -> str:
    """Return a section with the date and the machine under its heading."""
    heading, _, text = section.strip().partition("\n")
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return (
        f"{heading}\n\n{time.strftime('%Y-%m-%d')}, {machine}, Python {platform.python_version()}.\n{text}\n"
    )


def parts(document: str) -> dict[str, str]:
    """Return the sections of the document by heading."""
    found = re.split(r"^(?=## )", document, flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: section for section in found}


def main() -> None:
    """Replace each section when it is measured; if that fails, the old one stays."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"default: {' '.join(SECTIONS)}")
    wanted = parser.parse_args().sections or list(SECTIONS)
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    for name in wanted:
        section = stamped(SECTIONS[name]())
        print(section, flush=True)
        known = parts(DOCUMENT.read_text()) | parts(section)
        DOCUMENT.write_text(HEAD + "".join(f"\n{text.strip()}\n" for text in known.values()))


if __name__ == "__main__":
    main()
