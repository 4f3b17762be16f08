"""Which market a symbol belongs to, by the provider's suffixes."""

from __future__ import annotations

# What a symbol without a suffix means to the provider.
DEFAULT = "US"

# Lists of over-the-counter trading in the United States. Their prices come on the next morning.
OTC = frozenset({"OTC", "OTCBB", "OTCCE", "OTCGREY", "OTCMKTS", "OTCQB", "OTCQX", "PINK"})
# Lists that the provider keeps, whose symbols all end in US.
US_LISTS = OTC | {"AMEX", "ARCA", "BATS", "NASDAQ", "NMFQS", "NYSE", "NYSE ARCA", "NYSE MKT"}

# Interest rates, which may be below zero: yields of government bonds, and the money market.
RATES = frozenset({"GBOND", "MONEY"})

# The markets by the names that exchange_calendars has for their calendars.
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


# Every market and list by itself.
KNOWN = US_LISTS | {"FOREX", "CC"} | {suffix for suffixes in CALENDARS.values() for suffix in suffixes}


def suffix(symbol: str) -> str:
    """Return the suffix of a symbol; without one the provider takes it for one of ``DEFAULT``."""
    # As SQL's split_part(symbol, '.', 2) has it.
    return symbol.partition(".")[2].partition(".")[0] or DEFAULT


def listed(text: str) -> str:
    """Return the suffix of ``AAPL.US``, or the market or list that ``text`` is, such as ``LSE`` or ``PINK``.

    ``F`` is Frankfurt here, not Ford: of a symbol that may lack its suffix, pass ``suffix(symbol)``.
    """
    return text if text in KNOWN else suffix(text)


def market(text: str) -> str:
    """Return the market of what ``listed`` takes: ``US`` for all lists of the United States."""
    return suffix_of(listed(text))


def suffix_of(exchange: str) -> str:
    """Return the suffix of an exchange's symbols: ``US`` for every list of the United States."""
    return DEFAULT if exchange in US_LISTS else exchange
