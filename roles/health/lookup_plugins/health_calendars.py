"""The sessions of the exchanges, out of a calendar library, as a short text for the target."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: health_calendars
short_description: The sessions of the exchanges, for the health check
description:
  - Returns the weekdays, holidays and closing times of the exchanges whose symbols EODHD has, out of the Python library
    C(exchange_calendars) on the controller, compressed to about 10 kB of text.
  - Making it takes some seconds, so it is kept in the clone's C(.cache/), by the library's version and the years;
    where the clone cannot be written to, in a private folder among the temporary files.
  - A controller without the library is said in the text, and the health check warns.
options:
  days:
    description: How far back the calendars have to reach, in days from today.
    type: int
    default: 3650
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Check the host
  health_check:
    root: /opt/mt5-crs
    calendars: "{{ lookup('health_calendars', days=3650) }}"
"""

RETURN = r"""
_raw:
  description: The text for the option C(calendars) of M(health_check).
  type: list
  elements: str
"""

# EODHD's suffixes by the library's names.
MARKETS = {
    "XNYS": ["US", "NYSE", "NASDAQ", "AMEX", "BATS", "OTCQB", "PINK"],
    "XTSE": ["TO", "V", "NEO", "CN"],
    "XLON": ["LSE", "IL"],
    "XETR": ["XETRA"],
    "XFRA": ["F", "BE", "MU", "HA"],
    "XSTU": ["STU"],
    "XDUS": ["DU"],
    "XHAM": ["HM"],
    "XPAR": ["PA"],
    "XAMS": ["AS"],
    "XBRU": ["BR"],
    "XLIS": ["LS"],
    "XMIL": ["MI"],
    "XMAD": ["MC"],
    "XSWX": ["SW"],
    "XWBO": ["VI"],
    "XSTO": ["ST"],
    "XCSE": ["CO"],
    "XHEL": ["HE"],
    "XOSL": ["OL"],
    "XICE": ["IC"],
    "XDUB": ["IR"],
    "XWAR": ["WAR"],
    "XPRA": ["PR"],
    "XBUD": ["BUD"],
    "XZAG": ["ZSE"],
    "XIST": ["IS"],
    "BVMF": ["SA"],
    "XMEX": ["MX"],
    "XSGO": ["SN"],
    "XLIM": ["LIM"],
    "XASX": ["AU"],
    "XHKG": ["HK"],
    "XSHG": ["SHG", "SHE"],
    "XKRX": ["KO", "KQ"],
    "XTAI": ["TW", "TWO"],
    "XTKS": ["TSE"],
    "XBKK": ["BK"],
    "XIDX": ["JK"],
    "XKLS": ["KLSE"],
    "XPHS": ["PSE"],
    "XSAU": ["SR"],
    "XJSE": ["JSE"],
    "XBOM": ["NSE", "BSE"],
    "XKAR": ["KAR"],
}
LIBRARY = "exchange_calendars"
CACHE = Path(__file__).resolve().parents[3] / ".cache"


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        """One text, whatever the terms."""
        self.set_options(var_options=variables, direct=kwargs)
        return [text(date.today(), self.get_option("days"), [CACHE, private()])]


def text(today: date, days: int, folders: Iterable[Path]) -> str:
    """Return the text from a cache, or make it and keep it in the first folder that takes it.

    Args:
        today: the calendars reach to the end of the year after it.
        days: how far back they reach; rounded up to whole years.
        folders: where it may be kept, the best first.
    """
    try:
        version = metadata.version(LIBRARY)
    except metadata.PackageNotFoundError:
        return pack({"missing": f"the controller has no {LIBRARY}; run `make setup` in the clone"})
    first = max(1990, (today - timedelta(days=days)).year)
    name = f"calendars-{version}-{first}-{today.year + 1}"
    for folder in folders:
        with contextlib.suppress(OSError):
            kept = (folder / name).read_text()
            if unpack(kept):
                return kept
    try:
        made = pack(dict(calendars(date(first, 1, 1), date(today.year + 1, 12, 31))))
    except ImportError as error:
        return pack(
            {"missing": f"{LIBRARY} of the controller cannot be loaded ({error.name}); run `make setup`"}
        )
    for folder in folders:
        with contextlib.suppress(OSError):
            keep(folder, name, made)
            break
    return made


def calendars(first: date, last: date) -> Iterator[tuple[str, Any]]:
    """Yield the parts of the data; a market that the library does not know for these years is left out."""
    import exchange_calendars

    markets: dict[str, Any] = {}
    for name in MARKETS:
        # Some are recorded for this year and the last ones alone.
        for begin, end in ((first, last), (date(last.year - 6, 1, 1), date(last.year - 1, 12, 31))):
            try:
                found = exchange_calendars.get_calendar(name, start=begin.isoformat(), end=end.isoformat())
                markets[name] = market(found, begin, end)
            except (ValueError, NotImplementedError):
                continue
            break
    yield "markets", markets
    yield "suffixes", {suffix: name for name in markets for suffix in MARKETS[name]}


def market(found: Any, first: date, last: date) -> dict[str, Any]:
    """Return one calendar in the form of ``module_utils/health/calendars.py``."""
    begin, end = first.toordinal(), last.toordinal()
    closes: dict[int, int] = {}
    for session, closing in zip(found.sessions, found.closes.dt.tz_convert(None), strict=True):
        closes[session.toordinal()] = int((closing - session).total_seconds() // 60)
    usual = {day for day in range(begin, end + 1) if found.weekmask[(day - 1) % 7] == "1"}
    changes: list[tuple[int, int]] = []
    for day, minutes in closes.items():
        if not changes or changes[-1][1] != minutes:
            changes.append((day, minutes))
    return {
        "week": found.weekmask,
        "first": begin,
        "last": end,
        "closed": distances(begin, usual - set(closes)),
        "extra": distances(begin, set(closes) - usual),
        "closes": list(
            zip(
                distances(begin, [day for day, _ in changes]),
                [minutes for _, minutes in changes],
                strict=True,
            )
        ),
    }


def distances(begin: int, days: Iterable[int]) -> list[int]:
    """Return each day as the distance to the one before it; small numbers compress well."""
    ordered = sorted(days)
    return [day - before for before, day in zip([begin, *ordered], ordered, strict=False)]


def pack(data: Mapping[str, Any]) -> str:
    """Return the data as text."""
    return base64.b64encode(zlib.compress(json.dumps(data, separators=(",", ":")).encode(), 9)).decode()


def unpack(kept: str) -> Any:
    """Return the data of a text; None where it is cut or none."""
    try:
        return json.loads(zlib.decompress(base64.b64decode(kept, validate=True)))
    except (ValueError, zlib.error):
        return None


def keep(folder: Path, name: str, content: str) -> None:
    """Write a file as a whole or not at all,."""
    folder.mkdir(mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".calendars-", dir=folder)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
        os.replace(temporary, folder / name)
    except OSError:
        os.unlink(temporary)
        raise


def private() -> Path:
    """Return a folder among the temporary files that nobody else can write to."""
    folder = Path(tempfile.gettempdir()) / f"ansible-reset-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        return Path(os.devnull)  # somebody else's: nothing is read or kept there
    return folder
