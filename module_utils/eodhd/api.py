"""EODHD's API: one GET without retries, the meaning of its status, and the account's quota.

Every URL of the service contains the token. Therefore no text of requests or urllib3 is passed on; failures are
described in our own words.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from ansible.module_utils.reporting import Problem, package
from ansible.module_utils.text import whole

if TYPE_CHECKING:
    from ansible.module_utils.eodhd.model import Outcome

# Larger bodies are not read to the end.
_LARGEST = 256 << 20
# The headers that are used.
_HEADERS = ("Date", "X-RateLimit-Limit", "X-RateLimit-Remaining", "Retry-After")


@dataclass(frozen=True)
class Policy:
    """Limits of one call.

    Attributes:
        connect, read: timeouts in seconds of the connection, and of each wait for data.
        total: seconds for a whole answer.
        tries: maximum number of requests if the service or the network fails.
        tries_limited: maximum number of requests if the limit per minute is reached.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float = 120.0
    tries: int = 5
    tries_limited: int = 12

    @property
    def longest(self) -> float:
        """Return the seconds after which a request has ended."""
        return self.connect + self.total + self.read


@dataclass(frozen=True)
class Reply:
    """The result of one request.

    Attributes:
        status: of HTTP; 0 without a complete answer.
        body: as received.
        headers: those that are used and present.
        fault: what is wrong if it cannot be used.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


class Transport:
    """Sends requests from this process, and keeps this many connections open."""

    def __init__(self, base_url: str, token: str, policy: Policy, connections: int = 1) -> None:
        self._base = base_url.rstrip("/")
        self._token = token
        self.policy = policy
        self.connections = connections
        self._requests: Any = package("requests", "requests")
        self._http_error: Any = importlib.import_module("urllib3.exceptions").HTTPError
        self._adapter = self._requests.adapters.HTTPAdapter(
            pool_connections=1, pool_maxsize=connections, max_retries=0
        )
        # Preparing a request takes longer than sending it, so it is done once; only the URLs differ.
        # Proxies and certificates of the environment apply; a .netrc does not.
        try:
            with self._requests.Session() as session:
                self._settings = session.merge_environment_settings(self._base, {}, True, None, None)
                session.trust_env = False
                self._template = session.prepare_request(self._requests.Request("GET", self._base))
        except (self._requests.RequestException, ValueError) as error:
            raise Problem(f"eodhd_base_url cannot be used: {_words(error)}.") from None

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()

    def send(self, path: str, query: Mapping[str, Any], name: str = "") -> Reply:
        """Make one request; None values of ``query`` are left out, and ``name`` is ignored."""
        given = {key: value for key, value in query.items() if value is not None}
        request = self._template.copy()
        request.url = (
            f"{self._base}/{quote(path)}?{urlencode({'api_token': self._token, 'fmt': 'json', **given})}"
        )
        policy, started = self.policy, time.monotonic()
        try:
            # Without a session no redirect is followed, which would send the token elsewhere.
            with self._adapter.send(
                request, timeout=(policy.connect, policy.read), **self._settings
            ) as answer:
                body = bytearray()
                for piece in _pieces(answer):
                    body += piece
                    if time.monotonic() - started > policy.total or len(body) > _LARGEST:
                        return Reply(0, fault=f"an answer of over {policy.total:g} s or {_LARGEST >> 20} MB")
                if answer.raw.length_remaining:  # urllib3 before 2 does not check it
                    return Reply(0, fault="an incomplete answer")
                headers = {key: answer.headers[key] for key in _HEADERS if key in answer.headers}
                return Reply(answer.status_code, bytes(body), headers, f"status {answer.status_code}")
        except (self._requests.Timeout, TimeoutError):
            return Reply(0, fault=f"no data for {policy.read:g} s")
        except (self._requests.RequestException, self._http_error, OSError) as error:
            return Reply(0, fault=_words(error))


def _pieces(answer: Any) -> Iterator[bytes]:
    """Return a body as it arrives; waiting for full chunks would let a slow trickle outlast every timeout."""
    read = getattr(answer.raw, "read1", None)
    if read is None:  # urllib3 before 2
        pieces: Iterator[bytes] = answer.iter_content(1 << 12)
        return pieces
    return iter(lambda: read(1 << 18, decode_content=True), b"")


def _words(error: Exception) -> str:
    """Return what kind of failure this is; the error's own text contains the URL."""
    kind = type(error).__name__
    return {
        "ConnectionError": "a failed or closed connection",
        "ChunkedEncodingError": "an incomplete answer",
        "IncompleteRead": "an incomplete answer",
        "ProtocolError": "an incomplete answer",
        "DecodeError": "an incomplete answer",
        "ReadTimeoutError": "a stalled answer",
        "SSLError": "a TLS failure (check eodhd_base_url and the host's certificates)",
        "ProxyError": "a proxy error (check HTTPS_PROXY on the host)",
        "InvalidURL": "an invalid eodhd_base_url",
        "InvalidSchema": "an eodhd_base_url without http(s)://",
        "MissingSchema": "an eodhd_base_url without http(s)://",
    }.get(kind, kind)


# --- statuses ----------------------------------------------------------------------------------------------
# 200 is data, 429 is the limit per minute; any status not listed is retried.

# What ends the run: ``refused`` (token), ``quota`` (until 00:00 GMT) or ``plan`` (account), and the message.
STOPS = {
    401: (
        "refused",
        "EODHD refuses the token. Set eodhd_api_token (vault_eodhd_api_token in the vault) to a valid one.",
    ),
    402: (
        "quota",
        "Today's calls of the account are spent (402). What was stored stays stored. Run the same command again"
        " after 00:00 GMT to load the rest without paying twice.",
    ),
    423: (
        "plan",
        "The account's plan has no bulk requests (423): backfill_mode=daily and backfill_top need a paid plan."
        " Use backfill_mode=history with backfill_symbols.",
    ),
}
# What concerns one symbol: the outcome, the calls charged, and the message.
OUTCOMES: dict[int, tuple[Outcome, int, str]] = {
    403: (
        "forbidden",
        0,
        "not in the account's plan (403); if every symbol gets this, check eodhd_api_token",
    ),
    404: ("unknown", 1, "EODHD knows no such symbol or exchange (404); check the spelling and the suffix"),
    422: ("rejected", 0, "EODHD rejects the request as malformed (422); check symbol and dates"),
}
# What is charged, and therefore kept until it is stored.
PAID = {200, *(status for status, (_outcome, calls, _message) in OUTCOMES.items() if calls)}


# --- the account -------------------------------------------------------------------------------------------


def account(token: str) -> str:
    """Return an ID of the account that does not reveal the token: 16 hexadecimal digits."""
    return hashlib.blake2b(token.encode(), digest_size=8, person=b"backfill").hexdigest()


def today(now: datetime) -> date:
    """Return the provider's day, which turns at 00:00 GMT."""
    return now.astimezone(timezone.utc).date()


def check_clock(sent: str, now: datetime) -> None:
    """Raise ``Problem`` if the clock and an answer's header ``Date`` differ by over an hour, which spoils freshness."""
    try:
        hours = (now - parsedate_to_datetime(sent)).total_seconds() / 3600
    except (TypeError, ValueError):
        return
    if abs(hours) > 1:
        raise Problem(
            f"The clock of this host is {abs(hours):.0f} hours {'ahead of' if hours > 0 else 'behind'} EODHD's. Set it,"
            " for example with `timedatectl set-ntp true`. No call was made and nothing was changed."
        )


@dataclass(frozen=True)
class Quota:
    """What the account has left; None if the provider did not say.

    Attributes:
        limit: calls per day.
        today: calls left of today's.
        extra: bought calls; they are used after the day's calls, and do not expire.
    """

    limit: int | None
    today: int | None
    extra: int = 0

    @property
    def left(self) -> int | None:
        """Return all calls that can be made now."""
        return None if self.today is None else self.today + self.extra

    def text(self) -> str:
        """Return the quota in words."""
        if self.today is None:
            return "unknown" if self.limit is None else f"unknown, of {self.limit:,} calls a day"
        extra = f", and {self.extra:,} extra" if self.extra else ""
        return f"{self.today:,} of {self.limit:,} calls left today{extra}"


def quota(user: Any, today: date) -> Quota:
    """Return what is left, from the answer of ``/user``.

    ``apiRequests`` is the count of the last day with a call, so it applies only if ``apiRequestsDate`` is today.
    """
    if not isinstance(user, Mapping):
        return Quota(None, None)
    limit, used = whole(user.get("dailyRateLimit")), whole(user.get("apiRequests"))
    if limit is None or used is None:
        return Quota(limit, None)
    spent = used if str(user.get("apiRequestsDate")) == today.isoformat() else 0
    return Quota(limit, max(0, limit - spent), whole(user.get("extraLimit")) or 0)
