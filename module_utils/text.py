"""Numbers as people read them."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 row``, ``2,345 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
