"""The types of the health check: checks, findings, and the state that the checks share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible.module_utils.arguments.health_check import ARGUMENTS
from ansible.module_utils.database.connection import TimedOut, Unreachable, connect, driver, within
from ansible.module_utils.database.server import Server
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

if TYPE_CHECKING:
    from ansible.module_utils.health.coverage import Coverage

BACKFILL = "ansible-playbook playbooks/backfill.yml"
# From the best to the worst; the worst finding decides.
LEVELS = ("ok", "warn", "fail")
# The default thresholds; the documentation of the module ``health_check`` has the meaning and unit of each.
USUAL = {name: option["default"] for name, option in ARGUMENTS["limits"]["options"].items()}
# Seconds to wait for another session's lock; readers wait only for sessions that alter or truncate a table.
LOCK_TIMEOUT = 1.0


class Finding(NamedTuple):
    """What a check found; ``level`` is ok, warn or fail, and the message of a warn or fail says what to do."""

    check: str
    level: str
    message: str


class Wanted(NamedTuple):
    """A required table, and the least number of rows that it must have."""

    name: str
    min_rows: int = 0

    @property
    def parts(self) -> list[str]:
        """Schema and table, or the table alone."""
        return self.name.split(".")


class Count(NamedTuple):
    """Rows of a table; None if they could not be counted."""

    rows: int | None
    estimated: bool = False

    def text(self) -> str:
        """The count as it is printed."""
        if self.rows is None:
            return "not counted"
        rows = plural(self.rows, "row")
        return f"about {rows} (estimate)" if self.estimated else rows


@dataclass
class Host:
    """The options of the checks, and what earlier checks found for later ones.

    ``env`` to ``redis`` are options of the module ``health_check``; checks set the fields after them.

    Attributes:
        now: returns the current time in UTC.
        service: EODHD's address; None if the token is not checked.
        token: EODHD's answer in this run, possibly to another host: ``level`` and ``message`` of the finding, and
            ``account``, which identifies the token.
        settings: the values of ``.env``.
        deadline: monotonic time at which all queries on bars must end.
        coverage: the bars of each symbol; None if they could not be read.
    """

    env: Path
    tables: Sequence[Wanted]
    timeout: float
    query_timeout: float
    count: str
    open_connection: Callable[..., Any] = connect
    limits: Mapping[str, float] = field(default_factory=USUAL.copy)
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    service: str | None = None
    token: Mapping[str, str] | None = None
    redis: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    server: Server | None = None
    session: Any = None
    server_version: str | None = None
    latency_ms: float | None = None
    counts: dict[str, Count] = field(default_factory=dict)
    deadline: float | None = None
    coverage: Coverage | None = None
    measures: dict[str, float] = field(default_factory=dict)

    def level(self, name: str, found: float) -> str:
        """Return the level of an amount by the thresholds ``<name>_warn`` and ``<name>_fail``; 0 switches one off."""
        for level in ("fail", "warn"):
            bound = self.limits.get(f"{name}_{level}")
            if bound and found >= bound:
                return level
        return "ok"

    def bounded(self, work: Callable[[], Any], seconds: float) -> Any:
        """Do ``work`` on the connection; drop the session if the server stops answering or disconnects."""
        try:
            return within(seconds, work)
        except TimedOut:
            # Not closed, because that would wait for the statement that hangs. It ends with this process.
            self.session = None
            raise Unreachable("silent", "TimedOut") from None
        except driver().Error as error:
            self.session.close()
            self.session = None
            raise Unreachable.of(error) from None


class Check(NamedTuple):
    """A check, and in one line what it expects; without a session, a check that ``needs_session`` is skipped."""

    name: str
    run: Callable[[Host], Iterator[Finding]]
    expects: str
    needs_session: bool = False


def wanted(entries: Sequence[object]) -> list[Wanted]:
    """Return the tables of ``health_tables``; raise ``Problem`` for an invalid entry."""
    tables = []
    for entry in entries:
        values = entry if isinstance(entry, Mapping) else {"name": entry}
        name, rows = values.get("name"), str(values.get("min_rows", 0))
        if not (
            isinstance(name, str)
            and re.fullmatch(r"[^.]+(\.[^.]+)?", name)
            and rows.isdigit()
            and values.keys() <= {"name", "min_rows"}
        ):
            raise Problem(
                f"health_tables holds {entry!r}; expected table, schema.table, or {{name: table, min_rows: number}}."
            )
        tables.append(Wanted(name, int(rows)))
    return tables
