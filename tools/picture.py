"""Draws docs/pictures/reset.svg out of a coloured terminal's output on standard input; see ``make picture``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/pictures/reset.svg"
# What says nothing about the reset, and what is of this machine alone.
LEFT_OUT = re.compile(r"^(ok|skipping): |^TASK .*(Validating|Stop if|Begin no)|^PLAY \[Audit\]|^\s*$")


def main() -> None:
    """Draw what comes in."""
    text = sys.stdin.read().replace(str(ROOT), "…").replace("\r", "")
    lines = [Text.from_ansi(line) for line in text.splitlines()]
    kept = [line for line in lines if not LEFT_OUT.match(line.plain)]
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print("[green]$[/green] make reset", highlight=False)
    for line in kept:
        line.truncate(100, overflow="ellipsis")
        console.print(line)
    drawn = console.export_svg(title="make reset", clear=False)
    # The reader's own monospaced font: a picture loads nothing.
    drawn = re.sub(r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL).replace("Fira Code, ", "")
    PICTURE.write_text(drawn)


if __name__ == "__main__":
    main()
