"""The stand-in's server: one asyncio process on loopback, one buffer an answer, told what to do by tests.

``GET /_counts`` returns what was asked and paid; ``POST /_control`` changes the settings; both are free.
A call is paid when its answer went out to a client that was still there.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import sys
import time
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from standin.data import Market, Rename, Split, suffix

HTML = "text/html; charset=UTF-8"
QUOTA = "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
REASONS = {200: "OK", 301: "Moved Permanently"}
# What an answer can be told to be, besides "ok": status, content type, body.
FIXED: dict[str, tuple[int, str, str]] = {
    "unauthenticated": (401, HTML, "Unauthenticated"),
    "forbidden": (403, HTML, "Forbidden. Please contact support@eodhistoricaldata.com"),
    "free": (403, HTML, "Only EOD data allowed for free users. api_token={token}"),
    "bulk_free": (423, HTML, "Bulk requests are prohibited for free users"),
    "unknown": (404, HTML, "Ticker Not Found"),
    "unknown_exchange": (404, HTML, "Exchange Not Found."),
    "quota": (402, HTML, QUOTA),
    "too_many": (429, HTML, "Too Many Requests"),
    "too_many_zero": (429, HTML, "Too Many Requests"),
    "unprocessable": (422, "application/json", '{"errors":{"from":["bad"]}}'),
    "bad_gateway": (502, HTML, "<html><body>502 Bad Gateway</body></html>"),
    "page": (200, HTML, "<!DOCTYPE html><html><body>We are down for {token}</body></html>"),
    "object": (200, "application/json", '{"error":"try again"}'),
    "empty": (200, "application/json", "[]"),
    "redirect": (301, HTML, ""),
}
# Statuses that cost a call.
CHARGED = (200, 404)
WARNING = '"warning":"Data is limited by one year as you have free subscription"'
# The endpoints of actions, and the types of the bulk call.
ACTIONS = {"splits": "splits", "div": "dividends"}
BROKEN = ("cut", "cut_close", "stall", "reset", "trickle")


@dataclass
class Settings:
    """What ``/_control`` can change.

    Attributes:
        latency: seconds before an answer.
        token: the one that is accepted; "" accepts any.
        daily: calls a day; used counts those of today.
        clock: seconds that the header Date is ahead; None sends none.
        minute: requests in any 60 seconds; 0 is without a limit, but the header says ``advertised``.
        answers: behaviours by symbol, taken in turn; the last of a list stays when ``sticky``.
        every: behaviour of each answer with a number divisible by the key.
    """

    latency: float = 0.0
    token: str = ""
    daily: int = 100_000
    used: int = 0
    minute: int = 0
    advertised: int = 1_000_000
    sticky: bool = False
    requests_date: str = ""
    clock: float | None = None
    answers: dict[str, list[str]] = field(default_factory=dict)
    every: dict[str, str] = field(default_factory=dict)


@dataclass
class Counts:
    """What tests read from ``/_counts``."""

    requests: int = 0
    calls: int = 0
    paid: collections.Counter[str] = field(default_factory=collections.Counter)
    asked: collections.Counter[str] = field(default_factory=collections.Counter)
    gone: collections.Counter[str] = field(default_factory=collections.Counter)
    times: collections.deque[float] = field(default_factory=collections.deque)
    peak_minute: int = 0
    refused: int = 0


class Service:
    """Decides every answer; knows nothing of sockets."""

    def __init__(self, market: Market, settings: Settings) -> None:
        self.market = market
        self.settings = settings
        self.counts = Counts()

    def control(self, change: dict[str, Any]) -> None:
        """Apply the body of ``/_control``."""
        if change.pop("reset", False):
            self.counts = Counts()
            self.settings.answers, self.settings.every = {}, {}
        for name, value in change.items():
            if name == "splits":
                made = {key: Split(date.fromisoformat(day), ratio) for key, (day, ratio) in value.items()}
                self.market.splits = made
            elif name == "today":
                self.market.today = date.fromisoformat(value)
            elif name == "now":
                self.market.now = datetime.fromisoformat(value) if value else None
            elif name == "renames":
                self.market.renames = [Rename(old, new, date.fromisoformat(day)) for old, new, day in value]
            elif name == "delisted":
                self.market.delisted = {key: date.fromisoformat(day) for key, day in value.items()}
            elif name in ("rows", "extra", "universe", "late", "odd", "dividends", "junk"):
                setattr(self.market, name, value)
            elif hasattr(self.settings, name):
                setattr(self.settings, name, value)
            else:
                raise ValueError(name)

    def report(self) -> dict[str, Any]:
        """Return the body of ``/_counts``."""
        counts = self.counts
        return {
            "requests": counts.requests,
            "calls": counts.calls,
            "paid": counts.paid,
            "asked": counts.asked,
            "gone": counts.gone,
            "peak_minute": counts.peak_minute,
            "refused": counts.refused,
            "used": self.settings.used,
        }

    def answer(self, path: str, query: dict[str, str]) -> tuple[str, int, str, str, int, str]:
        """Return behaviour, status, content type, body, cost in calls and what was asked for."""
        endpoint, _slash, name = path.strip("/").removeprefix("api/").partition("/")
        counts, settings = self.counts, self.settings
        counts.requests += 1
        behaviour = self._behaviour(name)
        subject = name
        if endpoint in ACTIONS:  # counted apart from the bars
            name = f"{ACTIONS[endpoint]} {name}"
        counts.asked[name or endpoint] += 1
        now = time.monotonic()
        while counts.times and counts.times[0] < now - 60:
            counts.times.popleft()
        if settings.minute and len(counts.times) >= settings.minute:
            counts.refused += 1
            return self._fixed("too_many", name)
        counts.times.append(now)
        counts.peak_minute = max(counts.peak_minute, len(counts.times))
        if settings.token and query.get("api_token") != settings.token or not query.get("api_token"):
            return self._fixed("unauthenticated", name)
        if behaviour in FIXED:
            return self._fixed(behaviour, name, cost=int(FIXED[behaviour][0] in CHARGED))
        if endpoint == "user":
            return behaviour, 200, "application/json", json.dumps(self._user()), 0, "user"
        status, body, cost = self._data(endpoint, subject, query)
        if settings.used + cost > settings.daily:
            return self._fixed("quota", name)
        kind = "application/json" if status == 200 else HTML
        return behaviour, status, kind, warned(body, behaviour), cost, name

    def _behaviour(self, name: str) -> str:
        told = self.settings.answers.get(name) or self.settings.answers.get("*")
        if told:
            return told[0] if self.settings.sticky and len(told) == 1 else told.pop(0)
        for number, behaviour in self.settings.every.items():
            if self.counts.requests % int(number) == 0:
                return behaviour
        return "ok"

    def _fixed(self, behaviour: str, name: str, cost: int = 0) -> tuple[str, int, str, str, int, str]:
        status, kind, body = FIXED[behaviour]
        return behaviour, status, kind, body, cost, name

    def _data(self, endpoint: str, name: str, query: dict[str, str]) -> tuple[int, str, int]:
        market = self.market
        if endpoint == "eod":
            if not market.knows(name):
                return 404, "Ticker Not Found", 1
            # As the service does it: a bound that is no date is ignored.
            first, last = day(query.get("from"), date.min), day(query.get("to"), market.today)
            if query.get("fmt") != "json":
                return 200, "Date,Open,High,Low,Close,Adjusted_close,Volume\n", 1
            return 200, f"[{market.bars(name, first, last)}]", 1
        if endpoint in ACTIONS:
            if not market.knows(name):
                return 404, "Ticker Not Found", 1
            first, last = day(query.get("from"), date.min), day(query.get("to"), date.max)
            return 200, json.dumps(market.actions(ACTIONS[endpoint], name, first, last)), 1
        if endpoint == "symbol-change-history":
            return 200, json.dumps(market.changes()), 5
        if not market.codes(name):
            return 404, "Exchange Not Found.", 1
        if endpoint == "eod-bulk-last-day" and query.get("type") in ACTIONS.values():
            when = day(query.get("date"), market.last(suffix(name)))
            return 200, json.dumps(market.bulk_actions(query["type"], name, when)), 100
        if endpoint == "eod-bulk-last-day":
            rows = market.bulk(name, day(query.get("date"), market.last(suffix(name))))
            # Of a day without a session the service has no file.
            return (200, f"[{rows}]", 100) if rows else (404, "Not Found", 0)
        if endpoint == "exchange-symbol-list":
            return 200, json.dumps(market.listing(name, query.get("delisted") == "1")), 1
        return 404, "Not Found", 0

    def _user(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "name": "Stand-in",
            "email": "nobody@example.org",
            "subscriptionType": "monthly",
            "apiRequests": settings.used,
            "apiRequestsDate": settings.requests_date or datetime.now(timezone.utc).date().isoformat(),
            "dailyRateLimit": settings.daily,
            "extraLimit": 0,
        }

    def paid(self, name: str, cost: int) -> None:
        """Count an answer that went out."""
        self.counts.calls += cost
        self.settings.used += cost
        if cost:
            self.counts.paid[name] += 1

    def headers(self) -> str:
        """Return the headers of the clock and the minute limit."""
        limit = self.settings.minute or self.settings.advertised
        left = max(0, limit - len(self.counts.times))
        clock = self.settings.clock
        sent = "" if clock is None else f"Date: {formatdate(time.time() + clock, usegmt=True)}\r\n"
        return f"{sent}X-RateLimit-Limit: {limit}\r\nX-RateLimit-Remaining: {left}\r\n"


def warned(body: str, behaviour: str) -> str:
    """Return ``body`` with the free plan's warning as the behaviour says."""
    if behaviour == "warning_only":
        return f"[{{{WARNING}}}]"
    if behaviour == "warning_last":
        return body[:-2] + f",{WARNING}}}]"
    if behaviour == "warning_all":
        return body.replace("}", f",{WARNING}}}")
    return body


def day(text: str | None, otherwise: date) -> date:
    """Return an ISO date, or ``otherwise`` where it is none."""
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return otherwise


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request after the other."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, mark, rest = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {key.lower(): value for key, _colon, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.handle(request.split(" ")[1], rest[:length])

    def handle(self, target: str, body: bytes) -> None:
        url = urlsplit(target)
        if url.path == "/_control":
            self.service.control(json.loads(body))
            self.send(200, "application/json", "{}")
        elif url.path == "/_counts":
            self.send(200, "application/json", json.dumps(self.service.report()))
        else:
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            answer = self.service.answer(unquote(url.path), query)
            latency = self.service.settings.latency
            asyncio.get_running_loop().call_later(latency, self.reply, query.get("api_token", ""), *answer)

    def reply(
        self, token: str, behaviour: str, status: int, kind: str, body: str, cost: int, name: str
    ) -> None:
        if self.transport.is_closing():
            self.service.counts.gone[name] += 1
            return
        if behaviour in BROKEN:
            self.misbehave(behaviour, body)
            return
        self.service.paid(name, cost)
        limits = "" if status == 401 else self.service.headers()
        extra = "Retry-After: 0\r\n" if behaviour == "too_many_zero" else ""
        if behaviour == "length_twice":
            extra = f"Content-Length: {len(body.encode())}\r\n"
        self.send(status, kind, body.replace("{token}", token), extra + limits)

    def misbehave(self, behaviour: str, body: str) -> None:
        if behaviour == "reset":
            self.transport.abort()
        elif behaviour == "cut":  # less than was promised
            self.send(200, "application/json", body, cut=len(body) // 2)
            self.transport.close()
        elif behaviour == "cut_close":  # a length that nobody promised
            self.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body[:-9].encode())
            self.transport.close()
        elif behaviour == "trickle":
            self.send(200, "application/json", body, cut=1)
            asyncio.ensure_future(self.trickle(body.encode()))

    async def trickle(self, body: bytes) -> None:
        for place in range(1, len(body)):
            await asyncio.sleep(0.2)
            if self.transport.is_closing():
                return
            self.transport.write(body[place : place + 1])

    def send(self, status: int, kind: str, body: str, extra: str = "", cut: int | None = None) -> None:
        content = body.encode()
        location = "Location: /elsewhere\r\n" if status == 301 else ""
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(content)}\r\n{location}{extra}\r\n"
        )
        self.transport.write(head.encode() + content[:cut])


async def serve(service: Service, host: str, port: int) -> None:
    """Listen; the first line of output is the port."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), host, port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand in for EODHD.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--universe", type=int, default=50, help="number of SYM… symbols")
    options = parser.parse_args()
    service = Service(Market(universe=options.universe), Settings(latency=options.latency))
    try:
        asyncio.run(serve(service, options.host, options.port))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
