"""The market of a symbol, by EODHD's suffixes."""

from __future__ import annotations

import re

# The market of a symbol without a suffix.
DEFAULT = "US"

# Over-the-counter lists in the United States. Their prices come the next morning.
OTC = frozenset({"OTC", "OTCBB", "OTCCE", "OTCGREY", "OTCMKTS", "OTCQB", "OTCQX", "PINK"})
# EODHD's lists of symbols that end in US.
US_LISTS = OTC | {"AMEX", "ARCA", "BATS", "NASDAQ", "NMFQS", "NYSE", "NYSE ARCA", "NYSE MKT"}

# Interest rates, which may be negative: yields of government bonds, and the money market.
RATES = frozenset({"GBOND", "MONEY"})

# The suffixes of the markets, by the names of their calendars in exchange_calendars.
CALENDARS = {
    "XNYS": ["US"],
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


# The names of all markets and lists.
KNOWN = US_LISTS | {"FOREX", "CC"} | {suffix for suffixes in CALENDARS.values() for suffix in suffixes}


def suffix(symbol: str) -> str:
    """Return the suffix of a symbol; ``DEFAULT`` if it has none."""
    # The same as split_part(symbol, '.', 2) in SQL.
    return symbol.partition(".")[2].partition(".")[0] or DEFAULT


def full(symbol: str) -> str:
    """Return a symbol in the provider's spelling, as the backfill stores it: in upper case, with its suffix."""
    name = symbol if "." in symbol else f"{symbol}.{DEFAULT}"
    # If a ticker is reused, the former company gets a lower-case _old, _old1 and so on.
    return re.sub(r"_OLD(?=\d*\.)", "_old", name.upper())


def listed(text: str) -> str:
    """Return ``text`` if it is a market or list, such as ``LSE`` or ``PINK``; otherwise the suffix of the symbol.

    ``F`` is Frankfurt here, not Ford. If a symbol may lack its suffix, pass ``suffix(symbol)``.
    """
    return text if text in KNOWN else suffix(text)


def market(text: str) -> str:
    """Return the market of a symbol, market or list: ``US`` for every list of the United States."""
    return suffix_of(listed(text))


def suffix_of(exchange: str) -> str:
    """Return the suffix of an exchange's symbols: ``US`` for every list of the United States."""
    return DEFAULT if exchange in US_LISTS else exchange
