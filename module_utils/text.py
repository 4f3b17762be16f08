"""Format numbers for people, and read them."""

from __future__ import annotations


def whole(value: object) -> int | None:
    """Return a text or a JSON value as an integer; None if it is not a whole number."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 row`` or ``2,345 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Return a number of bytes in units of 1024: ``642 B`` or ``3.4 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
