"""A year of a scheduler in seconds: a clock, a provider, a database, troubles, and a runner that knows none of it.

The provider's sessions and closing times are those of exchange_calendars, not of the project.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ansible.module_utils.eodhd import planning
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.eodhd.planning import Rules, calls_for
from ansible.module_utils.schedule.jobs import Config, Job
from ansible.module_utils.schedule.runner import Played, Runner

HOUR = 3600.0
MARKETS = {"US": "XNYS", "LSE": "XLON", "AU": "XASX"}
ZONES = {"US": "America/New_York", "LSE": "Europe/London", "AU": "Australia/Sydney"}
BULK = 100
# Of a timer, at random, in seconds.
DELAY = 300.0
MORNING, OPERATOR = 6, ZoneInfo("Europe/Berlin")
NUMBERS = {"Mon": 0, "Tue": 1, "Wed": 2, "Thu": 3, "Fri": 4, "Sat": 5, "Sun": 6}


def seconds(text: str) -> float:
    """A moment in UTC, as seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


@dataclass(frozen=True)
class Window:
    """A trouble from one moment to another."""

    kind: str
    begin: float
    end: float

    def lasts(self, now: float) -> bool:
        return self.begin <= now < self.end


KINDS = ("bars", "splits", "dividends")
# What a file is of: a kind, a market, a session.
File = tuple[str, str, date]


class Provider:
    """What the service has of each file, and from when on; counts what is paid.

    Every file comes three times: when the market is over, with late rows within a day, and with corrections within
    three; as late as that allows.
    """

    def __init__(self, first: date, last: date) -> None:
        import exchange_calendars  # heavy: for this process alone

        self.published: dict[File, list[float]] = {}
        self.calls = 0
        for market, name in MARKETS.items():
            calendar = exchange_calendars.get_calendar(name, start=first - timedelta(days=40), end=last)
            for session in calendar.sessions:
                day = session.date()
                came = calendar.session_close(session).timestamp() + (0.25 if market == "US" else 2.9) * HOUR
                moments = [came, came + 21.5 * HOUR, came + 69.5 * HOUR]
                for kind in KINDS:
                    self.published[kind, market, day] = moments

    def version(self, file: File, now: float) -> int:
        """Which version of a file it has: 0 for none."""
        return sum(moment <= now for moment in self.published.get(file, ()))

    def sell(self, file: File, now: float) -> int:
        """Sell a file; its version."""
        self.calls += BULK
        return self.version(file, now)


@dataclass
class Sky:
    """The whole world of the simulation."""

    provider: Provider
    windows: list[Window]
    now: float
    table: dict[File, int] = field(default_factory=dict)
    messages: list[tuple[float, str]] = field(default_factory=list)
    beats: list[float] = field(default_factory=list)
    plays: list[tuple[float, Job]] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    hit: set[Window] = field(default_factory=set)
    loaded: dict[File, float] = field(default_factory=dict)

    def is_on(self, kind: str) -> bool:
        met = {window for window in self.windows if window.kind == kind and window.lasts(self.now)}
        self.hit |= met
        return bool(met)

    def play(self, job: Job, _log: Path) -> Played:
        """Stand in for ansible-playbook: what its modules would return."""
        self.now += 40
        self.plays.append((self.now, job))
        played = self._play(job)
        self.bad = (self.bad - {job.name}) | ({job.name} if played.code else set())
        return played

    def is_well(self) -> bool:
        """Whether every last run was good, and every message has its end: nothing is left to repeat or to tell."""
        return not self.bad and not len(self.messages) % 2

    def _play(self, job: Job) -> Played:
        if job.playbook == "backfill":
            return self._backfill(job)
        if job.tags == ["health"]:
            return self._health(job)
        if self.is_on("database"):
            return failed("The server refuses connections.", cause="database")
        return Played(0, [{"state": "ok", "host": "hub", "changed": False}])

    def _backfill(self, job: Job) -> Played:
        if self.is_on("database"):
            return failed("The server refuses connections.", cause="database")
        if self.is_on("service"):
            outcome = {"symbol": job.name, "outcome": "failed", "message": "5 requests"}
            return failed("1 of 1 were not loaded as requested.", not_loaded=[outcome])
        if self.is_on("token"):
            return failed("EODHD refuses the token.", cause="refused")
        if self.is_on("disk"):
            # Nothing is asked that cannot be stored.
            return failed("The server's disk is full.", cause="disk")
        rows = calls = 0
        wants = self._actions if job.variables["backfill_mode"] == "actions" else self._bars
        for file in wants(job.exchange):
            version = self.provider.sell(file, self.now)
            calls += BULK
            if not version:
                outcome = {"symbol": job.name, "outcome": "empty", "message": ""}
                return failed("1 of 1 were not loaded as requested.", not_loaded=[outcome])
            rows += self.table.get(file, 0) != version
            self.table[file] = version
            self.loaded[file] = self.now
        totals = {"calls": calls, "inserted": rows, "updated": 0}
        return Played(0, [{"state": "ok", "host": "hub", "changed": bool(rows), "totals": totals}])

    def _known(self, market: str, *kinds: str) -> dict[File, datetime]:
        """What was loaded in the last thirty days, and when."""
        return {
            file: time_of(at)
            for file, at in self.loaded.items()
            if file[1] == market and file[0] in kinds and at > self.now - 30 * 24 * HOUR
        }

    def _bars(self, market: str) -> list[File]:
        """What the mode daily asks for, by its own decision."""
        known = {
            file[2]: SymbolEntry(Range(file[2], file[2]), "loaded", 1, at)
            for file, at in self._known(market, "bars").items()
        }
        found = calls_for(market, known, Rules(time_of(self.now), 12, 10)).why
        return [("bars", market, day) for day in found if day]

    def _actions(self, market: str) -> list[File]:
        """What the mode actions asks for, by its own decision, of the days that it looks at by default."""
        today = time_of(self.now).date()
        jobs = planning.by_session(
            KINDS[1:], [market], Range(today - timedelta(days=30), today), time_of(self.now)
        )
        known = {
            f"{kind} {market} {day}": SymbolEntry(Range(day, day), "loaded", 1, at)
            for (kind, market, day), at in self._known(market, *KINDS[1:]).items()
        }
        waiting = planning.of_tasks("", jobs, known, Rules(time_of(self.now), 12, 10)).tasks
        return [(job.symbol.split(" ")[0], market, job.range.last) for job in waiting]

    def _health(self, _job: Job) -> Played:
        checks = [
            {"check": "disk", "level": "fail" if self.is_on("disk") else "ok", "message": "0 MiB are free."}
        ]
        down = self.is_on("database")
        checks.append(
            {"check": "connection", "level": "fail" if down else "ok", "message": "refuses connections"}
        )
        if not down:
            checks.append({"check": "freshness", "level": self._freshness(), "message": "last bars are old"})
        token = "warn" if self.is_on("service") else "fail" if self.is_on("token") else "ok"
        checks.append({"check": "token", "level": token, "message": "EODHD refuses the token."})
        records: list[dict[str, Any]] = [
            {"state": "ok", "host": host, "changed": False, "checks": checks} for host in ("hub", "node")
        ]
        bad = any(check["level"] == "fail" for check in checks)
        if bad:
            records += [{"state": "failed", "host": host, "msg": "unhealthy"} for host in ("hub", "node")]
        return Played(2 if bad else 0, records)

    def _freshness(self) -> str:
        """Fail where a market lacks three finished sessions, as strict as a user may set it."""
        for market in MARKETS:
            files = [
                file
                for file, at in self.provider.published.items()
                if file[:2] == ("bars", market) and at[0] <= self.now
            ]
            if files and not any(file in self.table for file in sorted(files)[-3:]):
                return "fail"
        return "ok"


def time_of(at: float) -> datetime:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(at, timezone.utc)


def failed(message: str, **fields: Any) -> Played:
    record = {"state": "failed", "host": "hub", "msg": message, "changed": False, **fields}
    return Played(2, [record])


def moments(at: str, first: date, last: date) -> Iterator[float]:
    """When a calendar event of the forms that the schedule uses happens; systemd is asked about them elsewhere."""
    found = re.fullmatch(r"(?:([A-Za-z,]+) )?\*-\*-\* (\d+):(\d+):(\d+)(?: (\S+))?", at)
    assert found, at
    days = {NUMBERS[name] for name in found[1].split(",")} if found[1] else set(range(7))
    zone = ZoneInfo(found[5] or "UTC")
    day = first
    while day <= last:
        if day.weekday() in days:
            yield datetime(
                day.year, day.month, day.day, int(found[2]), int(found[3]), tzinfo=zone
            ).timestamp()
        day += timedelta(days=1)


def fires(
    config: Config, first: date, last: date, asleep: list[Window], delay: float
) -> list[tuple[float, str]]:
    """What systemd starts when: with a random delay, and after a sleep once for each timer that missed a moment."""
    chance = random.Random(17)
    found: list[tuple[float, str]] = []
    for job in config.jobs.values():
        late: set[float] = set()
        for moment in moments(job.at, first, last):
            window = next((each for each in asleep if each.lasts(moment)), None)
            if window:
                late.add(window.end)
            else:
                found.append((moment + chance.random() * delay, job.name))
        found += [(end + 30 + chance.random() * delay, job.name) for end in late]
    moment = datetime(first.year, first.month, first.day, tzinfo=timezone.utc).timestamp()
    end = datetime(last.year, last.month, last.day, tzinfo=timezone.utc).timestamp()
    while moment < end:
        if not any(window.lasts(moment) for window in asleep):
            found.append((moment, "again"))
        moment += 1800
    return sorted(found)


def replay(
    config: Config, folder: Path, windows: list[Window], first: date, last: date, each: Callable[[Sky], None]
) -> Sky:
    """Live through the days; ``each`` looks at the world before every event."""
    sky = Sky(Provider(first, last + timedelta(days=3)), windows, 0.0)
    # It begins as a healthy host does.
    for file, versions in sky.provider.published.items():
        if file[2] < first:
            sky.table[file], sky.loaded[file] = len(versions), versions[-1] + 9 * 24 * HOUR

    (folder / "spare").mkdir()

    def sleep(wait: float) -> None:
        sky.now += wait

    runner = Runner(
        config,
        play=sky.play,
        ways=[lambda message: sky.messages.append((sky.now, message))],
        heartbeat=lambda: sky.beats.append(sky.now),
        now=lambda: sky.now,
        sleep=sleep,
        say=lambda line: None,
    )
    asleep = [window for window in windows if window.kind == "asleep"]
    for at, name in fires(config, first, last, asleep, DELAY):
        sky.now = max(sky.now, at)
        each(sky)
        if name == "again":
            if sky.is_well():
                continue  # test_runner.py shows that it does nothing
            runner.again()
        else:
            runner.run(name)
        runner.after(name)
    return sky
