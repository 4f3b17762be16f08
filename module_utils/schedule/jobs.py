"""The scheduler's configuration, its jobs, and when a job has anything to do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ansible.module_utils.common import validation
from ansible.module_utils.markets import calendar
from ansible.module_utils.reporting import Problem

# The job that runs the others again.
AGAIN = "again"
# Prefix of credentials that are vault passwords, for the jobs. The others are for the units that send messages.
VAULT = "vault."
# People and templates write texts, too: Ansible would read the tags `health` as six letters.
_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "tags": validation.check_type_list,
    "variables": validation.check_type_dict,
    "check": validation.check_type_bool,
    "heartbeat": validation.check_type_bool,
    "seconds": validation.check_type_int,
    "again": validation.check_type_int,
}


@dataclass(frozen=True)
class Job:
    """One playbook that runs at certain times.

    Attributes:
        at: a time for systemd's OnCalendar.
        exchange: a market; the job has nothing to do until the market has a new session.
        check: only plan; a plan with changes is a problem.
        seconds: maximum duration of a run.
        again: seconds until a failed run is repeated.
        heartbeat: whether its success is reported to the watchdog.
        interval: maximum seconds between two of its times; 0 if unknown.
    """

    name: str
    playbook: str
    at: str
    exchange: str = ""
    tags: Sequence[str] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False
    seconds: int = 3600
    memory: str = "2G"
    again: int = 1800
    heartbeat: bool = False
    interval: int = 0


@dataclass(frozen=True)
class Config:
    """A schedule without its secrets; other fields are options of the module ``schedule_units``.

    Attributes:
        state: folder of the history and the logs.
        spare: folder in memory for the locks, and for the history while the disk is full.
        secrets: names of the credentials.
        encrypted: whether the credentials are stored encrypted.
    """

    project: str
    inventory: Sequence[str]
    jobs: Mapping[str, Job]
    state: str
    spare: str
    days: int = 400
    retries: Sequence[int] = (60, 300, 600)
    metrics: str = ""
    mail: Sequence[str] = ()
    sendmail: str = "/usr/sbin/sendmail"
    command: Sequence[str] = ()
    title: str = "market data"
    name: str = "market-data"
    user: str = ""
    delay: int = 300
    sudo: bool = False
    writable: Sequence[str] = ()
    secrets: Sequence[str] = ()
    encrypted: bool = True

    @property
    def python(self) -> str:
        """The interpreter of the control node's environment."""
        return f"{self.project}/.venv/bin/python"

    def text(self) -> str:
        """Return the configuration as JSON."""
        values = asdict(self)
        values["jobs"] = list(values["jobs"].values())
        return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def load(path: Path) -> Config:
    """Read a configuration that ``Config.text`` wrote; raise ``Problem`` if it is missing or from another version."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["jobs"] = {job["name"]: Job(**job) for job in values["jobs"]}
        return Config(**values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Problem(
            f"The schedule's configuration {path} cannot be read ({type(error).__name__})."
            " Write it again with `ansible-playbook playbooks/schedule.yml`."
        ) from None


def parse(given: Mapping[str, Any], exchanges: Sequence[str]) -> dict[str, Job]:
    """Return the enabled jobs of ``schedule_jobs`` by name; raise ``Problem`` if a key is unknown, missing or wrong."""
    jobs: dict[str, Job] = {}
    for name, values in given.items():
        if not values:
            continue
        if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", name) or name in (AGAIN, "after"):
            raise Problem(
                f"schedule_jobs: {name!r} is not a valid job name. Use letters, digits and hyphens."
            )
        values = dict(values)
        each = values.pop("each", None)
        if each not in (None, "exchange"):
            raise Problem(f"schedule_jobs: {name} has each: {each!r}; only `exchange` is supported.")
        for exchange in exchanges if each else [values.pop("exchange", "")]:
            full = f"{name}-{exchange}" if each else name
            jobs[full] = _job(full, {**values, "exchange": exchange})
    return jobs


def _job(name: str, values: dict[str, Any]) -> Job:
    known = {each.name for each in fields(Job)} - {"name", "interval"}
    unknown = sorted(set(values) - known)
    lacking = sorted({"playbook", "at"} - set(values))
    if unknown or lacking:
        raise Problem(
            f"schedule_jobs: {name} has {', '.join(unknown) or 'no ' + ' and no '.join(lacking)}."
            f" A job has playbook and at, and may have {', '.join(sorted(known - {'playbook', 'at'}))}."
        )
    for key in _TYPES.keys() & values:
        try:
            values[key] = _TYPES[key](values[key])
        except TypeError:
            raise Problem(
                f"schedule_jobs: {name} has {key}: {values[key]!r}, which is of a wrong type."
            ) from None
    if values["exchange"]:
        values["variables"] = {"backfill_exchange": values["exchange"], **values.get("variables", {})}
    return Job(name=name, **values)


# --- times -----------------------------------------------------------------------------------------------

# After the moment at which the provider has the data.
MARGIN = timedelta(minutes=5)
# Sessions that show the usual moment of a market.
LOOK_AT = 90
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def newest(job: Job, done: date | None, now: datetime) -> date | None:
    """Return the session that a job has to load after the one that is ``done``; None on a day off."""
    # A market without a calendar has a session every day.
    known = calendar.due(job.exchange, now) if calendar.of_market(job.exchange) else None
    session = known or now.astimezone(timezone.utc).date()
    return session if done is None or session > done else None


def moment(job: Job) -> str:
    """Return the OnCalendar of a job at ``published``, in its zone; raise ``Problem`` for an unknown market."""
    market = calendar.of_market(job.exchange)
    if market is None:
        raise Problem(
            f"schedule_jobs: {job.name} is to run when {job.exchange or 'no exchange'} has published, and the"
            " calendars do not know that market. Give the job a time: at: '*-*-* 22:00:00 UTC'."
        )
    today = datetime.now(timezone.utc).date()
    moments: Counter[tuple[int, int, int]] = Counter()
    for day in market.sessions(today - timedelta(days=LOOK_AT), today):
        due = calendar.due_at(job.exchange, day)
        assert due is not None
        local = (due + MARGIN).astimezone(ZoneInfo(market.zone))
        moments[(local.date() - day).days, local.hour, local.minute] += 1
    later, hour, minute = moments.most_common(1)[0][0]
    # Not on the same time every day of the year if the zone of the market is another than that of the provider's rule.
    days = [DAYS[(number + later) % 7] for number in range(7) if market.week[number] == "1"]
    return f"{','.join(days)} *-*-* {hour:02}:{minute:02}:00 {market.zone}"
