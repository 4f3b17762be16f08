"""The page for people: one HTML file for all hosts of a run, whole in itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
from ansible.module_utils.audit import figures
from ansible.module_utils.audit.model import FAIL, FAILED, PASS, UNREACHABLE, WAIVED, WARN
from markupsafe import Markup

# Word and mark of each verdict, so that none is told by colour alone.
WORDS = {
    PASS: ("✓", "pass"),
    WARN: ("!", "warning"),
    FAIL: ("✕", "fail"),
    WAIVED: ("~", "waived"),
    UNREACHABLE: ("?", "unreachable"),
    FAILED: ("✕", "no answer"),
}
# More hosts than these, and those that passed are told by their numbers alone: the page stays below some MB.
IN_FULL = 50


def text(document: Mapping[str, Any], templates: Path) -> str:
    """Return the page.

    Args:
        document: as ``audit.json`` holds it.
        templates: the folder of ``page.html.j2`` and ``page.css``.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=_number, freshness=figures.freshness)
    page: str = environment.get_template("page.html.j2").render(
        **document,
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - the role's own file
        words=WORDS,
        order=sorted(document["hosts"], key=lambda host: (list(_ORDER).index(host["verdict"]), host["name"])),
        in_full=len(document["hosts"]) <= IN_FULL,
        figures=_drawn(document, count(1)),
    )
    return page


_ORDER = (UNREACHABLE, FAILED, FAIL, WARN, PASS)


def _drawn(document: Mapping[str, Any], numbers: Iterator[int]) -> dict[str, dict[str, Markup]]:
    """The figures of each database that was read."""
    makers = {"months": figures.months_map, "recent": figures.recent_map, "rows": figures.rows_chart}
    return {
        database["identity"]: {
            # matplotlib escapes what it writes.
            name: Markup(make(database["coverage"], next(numbers)))  # noqa: S704
            for name, make in makers.items()
        }
        for database in document["databases"]
        if database["coverage"] and database["coverage"]["symbols"]
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"
