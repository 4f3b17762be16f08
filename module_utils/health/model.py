"""What a check is, what it says, and what all of them share."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

from ansible.module_utils.arguments.health_check import ARGUMENTS
from ansible.module_utils.coverage.expected import Markets
from ansible.module_utils.coverage.judge import Lack
from ansible.module_utils.coverage.survey import Survey
from ansible.module_utils.database.connection import connect, driver, within
from ansible.module_utils.database.errors import TimedOut, Unreachable
from ansible.module_utils.database.server import Server
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

BACKFILL = "ansible-playbook playbooks/backfill.yml"
# From the best to the worst; the worst finding decides.
LEVELS = ("ok", "warn", "fail")
# Where ok ends; the documentation of the module ``health_check`` has the meaning and the unit of each.
USUAL = {name: option["default"] for name, option in ARGUMENTS["limits"]["options"].items()}
# Seconds to wait for another session's lock; readers wait only for those who alter or empty a table.
LOCK_TIMEOUT = 1.0
# Seconds until a statement whose time is over has ended, about.
_NOTICED = 0.02


@dataclass(frozen=True)
class Finding:
    """What a check says; ``level`` is ok, warn or fail, and the message of the latter two says what to do."""

    check: str
    level: str
    message: str


@dataclass(frozen=True)
class Wanted:
    """A table that has to be there, and how many rows it has to hold at least."""

    name: str
    min_rows: int = 0

    @property
    def parts(self) -> list[str]:
        """Schema and table, or the table alone."""
        return self.name.split(".")


@dataclass(frozen=True)
class Count:
    """Rows of a table; None if they could not be counted."""

    rows: int | None
    estimated: bool = False

    def text(self) -> str:
        """As it is printed."""
        if self.rows is None:
            return "not counted"
        rows = plural(self.rows, "row")
        return f"about {rows} (estimate)" if self.estimated else rows


@dataclass(frozen=True)
class Coverage:
    """What the tables hold, and what each symbol lacks by the calendar of its market."""

    survey: Survey
    lacks: Sequence[Lack]
    markets: Markets


@dataclass
class Host:
    """What the checks look at, and what the first ones find out for the later ones.

    ``env`` to ``redis`` are as the options of the module ``health_check`` say; what a check finds out is below.

    Attributes:
        now: the present, in UTC.
        service: EODHD's address, to ask about the token; None if that is switched off.
        token: what EODHD answered in this run, maybe to another host: ``level`` and ``message`` of the finding, and
            ``account``, whose token it was.
        settings: the values of ``.env``.
        deadline: of the monotonic clock, for all questions about the bars.
        coverage: what is there of each symbol; None if it could not be read.
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
        """Return the level of an amount by the thresholds ``<name>_warn`` and ``<name>_fail``; 0 is none."""
        for level in ("fail", "warn"):
            bound = self.limits.get(f"{name}_{level}")
            if bound and found >= bound:
                return level
        return "ok"

    def bounded(self, work: Callable[[], Any], seconds: float) -> Any:
        """Do something on the connection; if the server falls silent or goes away, there is no session any more."""
        try:
            return within(seconds, work)
        except TimedOut:
            # Not closed: that would wait for the statement that hangs. It ends with this process.
            self.session = None
            raise Unreachable("silent", "TimedOut") from None
        except driver().Error as error:
            self.session.close()
            self.session = None
            raise Unreachable.of(error) from None


@dataclass(frozen=True)
class Check:
    """A check by name, and in one line what it expects; one that ``needs_session`` is left out without one."""

    name: str
    run: Callable[[Host], Iterator[Finding]]
    expects: str
    needs_session: bool = False


def wanted(entries: Sequence[object]) -> list[Wanted]:
    """Return the tables of ``health_tables``; raises ``Problem`` if an entry is none."""
    tables = []
    for entry in entries:
        values = entry if isinstance(entry, Mapping) else {"name": entry}
        name, rows = str(values.get("name")), str(values.get("min_rows", 0))
        if not (
            isinstance(values.get("name"), str)
            and re.fullmatch(r"[^.]+(\.[^.]+)?", name)
            and rows.isdigit()
            and values.keys() <= {"name", "min_rows"}
        ):
            raise Problem(
                f"health_tables holds {entry!r}; expected table, schema.table, or {{name: table, min_rows: number}}."
            )
        tables.append(Wanted(name, int(rows)))
    return tables


def limit(cursor: Any, deadline: float) -> None:
    """Give the next statement what is left until ``deadline``, of the monotonic clock."""
    seconds = deadline - time.monotonic()
    left = max(1, round((seconds - min(_NOTICED, seconds / 10)) * 1000))
    lock = max(1, min(round(LOCK_TIMEOUT * 1000), left // 2))
    cursor.execute("SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)",
                   (str(left), str(lock)))  # fmt: skip
