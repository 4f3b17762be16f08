"""Write ``module_utils/markets/sessions.py`` out of the library exchange_calendars: ``make calendars``.

The file holds years and not the library, so that a target needs neither. ``tests/integration/markets``
compares both.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import exchange_calendars

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE / "module_utils"))

from markets import names

TARGET = CLONE / "module_utils/markets/sessions.py"
FIRST = date(2015, 1, 1)
HEAD = '''"""Sessions of the exchanges. Written by `make calendars`; do not edit.

A text holds days by year, as in ``2026: 0101 1225``; a value of a day follows ``=``. A value of ``ZONES`` (the distance
from UTC) and of ``close`` (by the clock of the market) holds from its day on. ``special`` are other closing times,
``closed`` and ``extra`` are days that are otherwise than ``week`` says, which begins on Monday. What a market does not
say is as ``USUAL`` has it.
"""

from __future__ import annotations

'''


def content(last: int) -> str:
    """Return the text of the file, up to the end of the year ``last``."""
    markets = {name: found for name in names.CALENDARS if (found := market(name, date(last, 12, 31)))}
    zones: dict[str, set[str]] = {}  # many have the same distances
    for found, entry in markets.values():
        zones.setdefault(days(offsets(found, last)), set()).add(entry["zone"])
    usual = {
        "week": "1111100", "first": f"{FIRST}", "last": f"{last}-12-31", "special": "", "closed": "", "extra": ""
    }  # fmt: skip
    lines = [
        f'VERSION = "{exchange_calendars.__version__}"',
        f'FIRST = "{FIRST}"',
        f'LAST = "{last}-12-31"',
        "",
        "# Each text by the names of the zones that it is for.",
        "ZONES = {",
        *(line for text, some in zones.items() for line in item(" ".join(sorted(some)), text, 4)),
        "}",
        "",
        "USUAL = {",
        *(line for key, text in usual.items() for line in item(key, text, 4)),
        "}",
        "",
        "MARKETS = {",
    ]
    for name, (_, entry) in markets.items():
        lines.append(f'    "{name}": {{')
        lines += [
            line for key, text in entry.items() if text != usual.get(key) for line in item(key, text, 8)
        ]
        lines.append("    },")
    return "\n".join([HEAD + lines[0], *lines[1:], "}", ""])


def item(key: str, text: str, indent: int) -> list[str]:
    """Return the lines of one key and its text."""
    pad = " " * indent
    if len(text) + len(key) + indent < 100:
        return [f'{pad}"{key}": "{text}",']
    quotes = '"' if len(key) < 80 else '"""'
    entry = f'{quotes}{key}{quotes}: """{text}""",'
    return textwrap.wrap(entry, 110, initial_indent=pad, subsequent_indent=f"{pad}  ")


def market(name: str, last: date) -> tuple[Any, dict[str, str]] | None:
    """Return a calendar of the library and what the file says of it; None if it does not have these years."""
    found = calendar(name, last)
    if found is None:
        return None
    first, end = (
        found.sessions[0].date().replace(month=1, day=1),
        found.sessions[-1].date().replace(month=12, day=31),
    )
    closes = {
        day.date(): f"{at:%H:%M}"
        for day, at in zip(found.sessions, found.closes.dt.tz_convert(found.tz), strict=True)
    }
    usual = [(max(first, since.date() if since else first), f"{at:%H:%M}") for since, at in found.close_times]
    week = {first + timedelta(n) for n in range((end - first).days + 1)}
    week = {day for day in week if found.weekmask[day.weekday()] == "1"}
    regular = {day: [at for since, at in usual if since <= day][-1] for day in closes}
    return found, {
        "zone": str(found.tz),
        "week": found.weekmask,
        "first": first.isoformat(),
        "last": end.isoformat(),
        "close": days(changes(regular.items())),
        "special": days((day, at) for day, at in closes.items() if at != regular[day]),
        "closed": days((day, "") for day in sorted(week - set(closes))),
        "extra": days((day, "") for day in sorted(set(closes) - week)),
    }


def calendar(name: str, last: date) -> Any:
    """Return a calendar of the library for as many years as it knows; None if that is too few."""
    for end in range(last.year, last.year - 3, -1):
        for begin in range(FIRST.year, end - 3):
            try:
                return exchange_calendars.get_calendar(name, start=f"{begin}-01-01", end=f"{end}-12-31")
            except (ValueError, NotImplementedError):
                continue
    return None


def offsets(found: Any, last: int) -> Iterator[tuple[date, str]]:
    """Yield the distances of a calendar's zone from UTC, each with the day that it holds from."""
    import pandas

    noons = pandas.date_range(f"{FIRST} 12:00", f"{last}-12-31 12:00", tz=found.tz)
    yield from changes((noon.date(), f"{noon:%z}"[:3] + ":" + f"{noon:%z}"[3:]) for noon in noons)


def changes(values: Iterable[tuple[date, str]]) -> Iterator[tuple[date, str]]:
    """Yield those that differ from the one before."""
    before = ""
    for day, value in values:
        if value != before:
            yield day, value
        before = value


def days(values: Iterable[tuple[date, str]]) -> str:
    """Return days and their values as text, by year."""
    years: dict[int, list[str]] = {}
    for day, value in values:
        years.setdefault(day.year, []).append(f"{day:%m%d}" + (f"={value}" if value else ""))
    return " ".join(f"{year}: {' '.join(each)}" for year, each in years.items())


def main() -> None:
    """Write the file, to the end of the next year."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--last", type=int, default=date.today().year + 1, help="the year that it reaches to"
    )
    TARGET.write_text(content(options.parse_args().last))


if __name__ == "__main__":
    main()
