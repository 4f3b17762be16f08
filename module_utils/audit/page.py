"""The audit's page: one self-contained HTML file for all hosts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.audit import cells, history
from ansible.module_utils.audit.model import FAIL, FAILED, PASS, UNREACHABLE, WAIVED, WARN

# Mark and word of each verdict, so that none depends on colour alone.
WORDS = {
    PASS: ("✓", "pass"),
    WARN: ("!", "warning"),
    FAIL: ("✕", "fail"),
    WAIVED: ("~", "waived"),
    UNREACHABLE: ("?", "unreachable"),
    FAILED: ("✕", "no result"),
}
_ORDER = (UNREACHABLE, FAILED, FAIL, WARN, PASS)
# With more hosts than this, the page only counts the checks that passed, so that it stays small.
IN_FULL = 50


def text(document: Mapping[str, Any], templates: Path) -> str:
    """Return the page of a document; ``templates`` is the folder of ``page.html.j2`` and ``page.css``."""
    # Only the controller has these packages, and the targets import this module.
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        number=lambda value: "–" if value is None else f"{value:,}",
        by_month=cells.by_month,
        by_day=cells.by_day,
        by_runs=history.by_day,
    )
    page: str = environment.get_template("page.html.j2").render(
        **document,
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - the role's own file
        words=WORDS,
        order=sorted(document["hosts"], key=lambda host: (_ORDER.index(host["verdict"]), host["name"])),
        in_full=len(document["hosts"]) <= IN_FULL,
    )
    return page
