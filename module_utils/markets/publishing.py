"""When EODHD publishes the data of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from ansible.module_utils.markets import calendar, names


@dataclass(frozen=True)
class Rule:
    """Data is due ``after`` the end of its session; with a ``zone``, at that local time on the next day."""

    after: timedelta
    zone: str = ""

    def moment(self, market: calendar.Calendar, session: date) -> datetime:
        """Return when the data of a session is due, in UTC."""
        if self.zone:
            return calendar.clock(self.zone).utc(session + timedelta(days=1), self.after)
        return market.closing(session) + self.after


_MORNING = Rule(timedelta(hours=6), "America/New_York")
# By market and kind. A kind is EODHD's type of an asset or a list of the United States, in lower case, or VOLUME. None
# is the rule for all other kinds of a market. DEFAULT is the rule for all other markets.
VOLUME = "volume"
TABLE: Mapping[tuple[str, str | None], Rule] = {
    ("US", None): Rule(timedelta(minutes=15)),
    ("US", "etf"): Rule(timedelta(hours=3)),
    ("US", "fund"): _MORNING,
    ("US", "mutual fund"): _MORNING,
    ("US", "nmfqs"): _MORNING,
    **{("US", name.lower()): _MORNING for name in names.OTC},
    # Consolidated volumes come hours after the prices.
    ("US", VOLUME): _MORNING,
    # Their sessions end at midnight UTC.
    ("CC", None): Rule(timedelta(hours=1)),
    ("FOREX", None): Rule(timedelta(hours=1)),
}
DEFAULT = Rule(timedelta(hours=3))


def due_at(symbol: str, session: date, kind: str | None = None) -> datetime | None:
    """Return when the data of a session is due, in UTC; None if the market has no calendar.

    ``symbol`` is a symbol such as ``AAPL.US``, a market, or a list such as ``PINK``; see ``names.listed``. ``kind`` is
    EODHD's type or list of the asset, or ``VOLUME``; None for regular shares.
    """
    market = calendar.of(symbol)
    return _rule(symbol, kind).moment(market, session) if market else None


def due(symbol: str, now: datetime, kind: str | None = None) -> date | None:
    """Return the newest session whose data is due by ``now``, for what ``due_at`` takes; None without a calendar."""
    market = calendar.of(symbol)
    if market is None:
        return None
    rule = _rule(symbol, kind)
    day = now.astimezone(timezone.utc).date() + timedelta(days=1)
    while not (market.is_session(day) and rule.moment(market, day) <= now):
        day -= timedelta(days=1)
    return day


def _rule(symbol: str, kind: str | None) -> Rule:
    market = names.market(symbol)
    for each in (kind, names.listed(symbol)):
        if each and (market, each.lower()) in TABLE:
            return TABLE[market, each.lower()]
    return TABLE.get((market, None), DEFAULT)
