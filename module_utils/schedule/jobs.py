"""What the scheduler runs, as its configuration says it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ansible.module_utils.reporting import Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# The job that runs the others again.
AGAIN = "again"


@dataclass(frozen=True)
class Job:
    """One command that runs at certain times.

    Attributes:
        name: also that of its units.
        playbook: one of ``playbooks/``, without the suffix.
        at: when, as systemd's OnCalendar takes it.
        exchange: a market; the job has nothing to do before the market has a new session.
        tags: of the playbook.
        variables: for the playbook.
        check: only plan; a plan that would change something is a problem.
        seconds: how long one run may take.
        memory: how much, as systemd's MemoryMax takes it.
        again: seconds until a run that failed is repeated.
        heartbeat: whether its success is told to the heartbeat URL.
        interval: seconds between two of its times at most; 0 if nobody has looked.
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
    """All that the runner has to know; nothing in it is secret.

    Attributes:
        project: the clone whose playbooks run.
        inventory: sources, as ``ansible-playbook -i`` takes them.
        jobs: by name.
        state: folder of the history and the logs.
        spare: folder in memory, for the locks, and for the history while the disk is full.
        days: for how long history and logs are kept.
        retries: seconds to wait before each further attempt of a run that met a passing trouble.
        metrics: file for node_exporter, or empty.
        mail: addresses.
        sendmail: the program that takes mail.
        command: of the user's; gets the message on its standard input.
        title: what messages begin with.
        evidence: folder of the audits, for the retention; empty for none.
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
    evidence: str = ""

    def text(self) -> str:
        """Return the configuration as a file."""
        values = asdict(self)
        values["jobs"] = list(values["jobs"].values())
        return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def load(path: Path) -> Config:
    """Read a configuration that ``Config.text`` wrote.

    Raises:
        Problem: there is none, or it is another version's.
    """
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
    """Return the jobs of ``schedule_jobs``; one with ``each: exchange`` becomes a job for each exchange.

    Args:
        given: values by name; a job whose value is false or null is switched off.
        exchanges: ``schedule_exchanges``.

    Raises:
        Problem: a job has an unknown key, or lacks one.
    """
    jobs: dict[str, Job] = {}
    for name, values in given.items():
        if not values:
            continue
        if not NAME.fullmatch(name) or name in (AGAIN, "after"):
            raise Problem(f"schedule_jobs: {name!r} is no name for a job. Use letters, digits and hyphens.")
        values = dict(values)
        each = values.pop("each", None)
        if each not in (None, "exchange"):
            raise Problem(f"schedule_jobs: {name} has each: {each!r}; only `exchange` is known.")
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
    if values["exchange"]:
        values["variables"] = {"backfill_exchange": values["exchange"], **values.get("variables", {})}
    return Job(name=name, **values)
