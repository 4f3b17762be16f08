"""A replayed year: every morning has its data, every trouble its two messages, and no call is wasted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from ansible.module_utils.schedule import due, jobs
from ansible.module_utils.schedule.jobs import Config, Job

from tests.integration.schedule.world import (
    BULK,
    HOUR,
    MARKETS,
    MORNING,
    OPERATOR,
    Sky,
    Window,
    replay,
    seconds,
)  # fmt: skip

pytestmark = pytest.mark.timeout(300)
FIRST, LAST = date(2025, 11, 3), date(2026, 11, 2)
DAY = 24 * HOUR
GIVEN: dict[str, dict[str, object]] = {
    "daily": {"playbook": "backfill", "each": "exchange", "at": "published"},
    "health": {
        "playbook": "reset",
        "tags": ["health"],
        "at": "*-*-* 05:30:00 Europe/Berlin",
        "heartbeat": True,
    },
}
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
        mornings: by day, the sessions that could have been there and were not.
    """

    sky: Sky
    mornings: dict[date, list[str]] = field(default_factory=dict)


def timed(given: dict[str, dict[str, object]]) -> dict[str, Job]:
    found = jobs.parse(given, list(MARKETS))
    return {
        name: Job(**{**vars(job), "at": due.moment(job) if job.at == "published" else job.at})
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


def lacking(sky: Sky, windows: list[Window], moment: float) -> list[str]:
    """What is not there of all that could be: sessions, and what they became until the next session was published."""
    found = []
    for (market, session), versions in sky.provider.published.items():
        have = sky.table.get((market, session), 0)
        if session <= FIRST or have >= len(versions):
            continue
        next_one = min(
            (at[0] for (name, day), at in sky.provider.published.items() if name == market and day > session),
            default=moment,
        )
        for number, at in enumerate(versions, 1):
            since = at if number == 1 else max(at, next_one)
            if have < number and obtainable(windows, since, moment):
                found.append(f"{market} {session} version {number}")
    return found


@pytest.fixture(scope="module")
def year() -> Iterator[Year]:
    # Thousands of transactions: in memory, where the machine has room for files there.
    shared = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield live(Path(folder))


def live(folder: Path) -> Year:
    config = Config("/project", ["hosts"], timed(GIVEN), str(folder), str(folder / "spare"))
    windows = [ASLEEP, *TROUBLES.values(), SHORT]
    year: Year | None = None
    day = FIRST + timedelta(days=3)

    def look(sky: Sky) -> None:
        nonlocal year, day
        year = year or Year(sky)
        while (
            moment := datetime(day.year, day.month, day.day, MORNING, tzinfo=OPERATOR).timestamp()
        ) <= sky.now:
            if not ASLEEP.lasts(moment):
                year.mornings[day] = lacking(sky, windows, moment)
            day += timedelta(days=1)

    replay(config, folder, windows, FIRST, LAST, look)
    assert year is not None
    return year


def told(year: Year, title: str) -> list[float]:
    return [moment for moment, message in year.sky.messages if title in message.splitlines()[0]]


def test_every_morning_has_the_data_that_the_service_had(year: Year) -> None:
    assert len(year.mornings) > 350
    assert {day: lacking for day, lacking in year.mornings.items() if lacking} == {}


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
    sessions = sum(
        session >= FIRST and moments[0] < seconds("2026-10-29T00:00")
        for (_, session), moments in year.sky.provider.published.items()
    )
    # Each session when it is new, and twice until it has settled.
    ratio = year.sky.provider.calls / (3 * sessions * BULK)
    with capsys.disabled():
        print(
            f"\nreplayed year: {len(year.mornings)} mornings, {sum(map(bool, year.mornings.values()))} without all"
            f" data; {len(year.sky.messages)} messages for {len(TROUBLES)} troubles; calls {ratio:.3f} of the minimum"
        )
    assert ratio <= 1.1
