"""A replayed year: every morning has its data, every trouble its two messages, and no call is wasted."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from ansible.module_utils.schedule import jobs
from ansible.module_utils.schedule.jobs import Config, Job

from tests.integration.schedule.world import (
    BULK,
    HOUR,
    MARKETS,
    MORNING,
    OPERATOR,
    ZONES,
    File,
    Sky,
    Window,
    replay,
    seconds,
)  # fmt: skip

pytestmark = pytest.mark.timeout(300)
FIRST, LAST = date(2025, 11, 3), date(2026, 11, 2)
DAY = 24 * HOUR
SETTINGS = Path(__file__).resolve().parents[3] / "roles/settings/defaults/main.yml"
# The project's own jobs; the health of the morning is that of the operator's.
GIVEN: dict[str, dict[str, Any]] = yaml.safe_load(SETTINGS.read_text())["schedule_jobs"]
GIVEN["health"]["at"] += f" {OPERATOR.key}"
ASLEEP = Window("asleep", seconds("2026-03-26T10:00"), seconds("2026-03-30T10:00"))
# What lasts; the hours are such that each meets a run.
TROUBLES = {
    "service": Window("service", seconds("2026-04-14T12:00"), seconds("2026-04-16T12:00")),
    "token": Window("token", seconds("2026-06-09T08:00"), seconds("2026-06-11T15:00")),
    "disk": Window("disk", seconds("2026-08-18T02:00"), seconds("2026-08-18T20:00")),
    "database": Window("database", seconds("2026-09-15T03:00"), seconds("2026-09-15T07:10")),
}
# A restart in the minute in which a run begins: over before anybody could do anything.
SHORT = Window("database", seconds("2026-10-06T20:15"), seconds("2026-10-06T20:26"))
TITLES = {
    "service": "EODHD does not answer",
    "token": "EODHD refuses the token",
    "disk": "the disk is full",
    "database": "the database cannot be used",
}


@dataclass
class Year:
    """What was seen of it.

    Attributes:
        sky: the world at its end.
        mornings: by day, the files that could have been there in their version and were not.
        calls: the fewest that could have brought what the mornings had to have, by whoever knows all in advance.
        kept: the versions that these have brought.
    """

    sky: Sky
    mornings: dict[date, list[str]] = field(default_factory=dict)
    calls: int = 0
    kept: dict[File, int] = field(default_factory=dict)


def timed(given: dict[str, dict[str, Any]]) -> dict[str, Job]:
    found = jobs.parse(given, list(MARKETS))
    return {
        name: Job(**{**vars(job), "at": jobs.moment(job) if job.at == "published" else job.at})
        for name, job in found.items()
    }


def obtainable(windows: list[Window], since: float, until: float) -> bool:
    """Whether there was an hour without any trouble after which the data could have been there."""
    moment = since
    while moment + HOUR <= until:
        hit = [window for window in windows if window.begin < moment + HOUR and window.end > moment]
        if not hit:
            return True
        moment = max(window.end for window in hit)
    return False


class Promise:
    """Which version of a file is to be there at a moment: the first when it came, later ones with the next session."""

    def __init__(self, sky: Sky, windows: list[Window]) -> None:
        self.windows = windows
        self.published = {file: at for file, at in sky.provider.published.items() if file[2] > FIRST}
        self.firsts = {
            market: sorted(at[0] for (_, name, _), at in sky.provider.published.items() if name == market)
            for market in MARKETS
        }

    def version(self, file: File, moment: float) -> int:
        """Return the version that could have been loaded by now; each in an hour without any trouble."""
        due = 0
        for number, at in enumerate(self.published[file], 1):
            firsts = self.firsts[file[1]]
            later = firsts[min(bisect_left(firsts, at), len(firsts) - 1)]
            if not obtainable(self.windows, max(at, later), moment):
                break
            due = number
        return due


def look(year: Year, promise: Promise, day: date, moment: float) -> None:
    """See what lacks in a morning, and what it takes at the least to lack nothing.

    Whoever knows all in advance asks for a file as late as they can, and gets all that is there by then.
    """
    kept = year.kept
    year.mornings[day] = []
    for file, at in list(promise.published.items()):
        if at[0] > moment:
            continue
        if kept.get(file, 0) == year.sky.table.get(file, 0) == len(at):
            del promise.published[file]
            continue
        due = promise.version(file, moment)
        if due > kept.get(file, 0):
            year.calls += BULK
            kept[file] = year.sky.provider.version(file, moment)
        if year.sky.table.get(file, 0) < due:
            year.mornings[day].append(f"{' '.join(map(str, file))}: version {due}")


@pytest.fixture(scope="module")
def year(memory: Path) -> Year:
    """Thousands of transactions, in a file in memory."""
    folder = memory / "year"
    folder.mkdir()
    config = Config("/project", ["hosts"], timed(GIVEN), str(folder), str(folder / "spare"))
    windows = [ASLEEP, *TROUBLES.values(), SHORT]
    seen: list[tuple[Year, Promise]] = []
    day = FIRST + timedelta(days=3)

    def each(sky: Sky) -> None:
        nonlocal day
        if not seen:
            seen.append((Year(sky), Promise(sky, windows)))
        while (moment := morning(day)) <= sky.now:
            if not ASLEEP.lasts(moment):
                look(*seen[0], day, moment)
            day += timedelta(days=1)

    replay(config, folder, windows, FIRST, LAST, each)
    return seen[0][0]


def morning(day: date) -> float:
    return datetime(day.year, day.month, day.day, MORNING, tzinfo=OPERATOR).timestamp()


def told(year: Year, title: str) -> list[float]:
    return [moment for moment, message in year.sky.messages if title in message.splitlines()[0]]


def test_every_trouble_met_runs(year: Year) -> None:
    assert year.sky.hit == {*TROUBLES.values(), SHORT}
    assert not [at for at, _ in year.sky.plays if ASLEEP.begin + HOUR < at < ASLEEP.end]


def test_every_morning_has_the_data_that_the_service_had(year: Year) -> None:
    assert len(year.mornings) > 350
    assert {day: lacking for day, lacking in year.mornings.items() if lacking} == {}


@pytest.mark.parametrize("market", MARKETS)
def test_nobody_asks_on_a_day_off(year: Year, market: str) -> None:
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(MARKETS[market], start=FIRST, end=LAST)
    days = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days)]
    off = {day for day in days if day.weekday() < 5 and not calendar.is_session(day.isoformat())}
    asked = {
        datetime.fromtimestamp(at, ZoneInfo(ZONES[market])).date()
        for at, job in year.sky.plays
        if job.exchange == market
    }
    assert len(off) >= 7
    assert off & asked == set()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_trouble_is_told_once_and_so_is_its_end(year: Year, trouble: str) -> None:
    window = TROUBLES[trouble]
    begun, over = told(year, TITLES[trouble])
    assert window.begin <= begun <= window.begin + 1.1 * DAY
    assert window.end <= over <= window.end + 1.1 * HOUR


def test_nothing_else_is_told(year: Year) -> None:
    """Neither holidays, nor the sleep, nor a restart that passed by itself."""
    assert len(year.sky.messages) == 2 * len(TROUBLES), [message for _, message in year.sky.messages]


def test_the_watchdog_misses_the_machine_that_sleeps(year: Year) -> None:
    gaps = [(one, other) for one, other in zip(year.sky.beats, year.sky.beats[1:]) if other - one > 1.5 * DAY]
    assert any(ASLEEP.begin - DAY < one < ASLEEP.begin < ASLEEP.end < other for one, other in gaps)
    # The others are those of a host that is not healthy, which its messages say.
    for one, other in gaps:
        assert any(one < window.end and window.begin < other for window in [ASLEEP, *TROUBLES.values()])


def test_hardly_a_call_is_wasted(year: Year, capsys: pytest.CaptureFixture[str]) -> None:
    ratio = year.sky.provider.calls / year.calls
    with capsys.disabled():
        print(
            f"\nreplayed year: {len(year.mornings)} mornings, {sum(map(bool, year.mornings.values()))} without all"
            f" data; {len(year.sky.messages)} messages for {len(TROUBLES)} troubles; {year.sky.provider.calls:,} calls,"
            f" {ratio:.3f} of the minimum"
        )
    assert 1 <= ratio <= 1.1
