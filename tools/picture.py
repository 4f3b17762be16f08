"""Draws docs/pictures/reset.svg from the coloured terminal output on standard input; see ``make picture``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/pictures/reset.svg"
# Lines that tell nothing about the reset.
LEFT_OUT = re.compile(r"^(ok|skipping): |^TASK .*(Validating|Stop (if|before))|^PLAY \[Audit\]|^\s*$")


def main() -> None:
    """Draw standard input."""
    text = sys.stdin.read().replace(str(ROOT), "…").replace("\r", "")
    lines = [Text.from_ansi(line) for line in text.splitlines()]
    kept = [line for line in lines if not LEFT_OUT.match(line.plain)]
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print("[green]$[/green] make reset", highlight=False)
    for line in kept:
        line.truncate(100, overflow="ellipsis")
        console.print(line)
    drawn = console.export_svg(title="make reset", clear=False)
    # Use the reader's own monospaced font, because a picture should load nothing.
    drawn = re.sub(r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL).replace("Fira Code, ", "")
    PICTURE.write_text(drawn)


if __name__ == "__main__":
    main()
