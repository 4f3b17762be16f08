"""The way to EODHD: one GET at a time for each thread, repeated within bounds, and what an answer means.

Every URL of the service holds the token. Therefore no text of requests, urllib3 or the service is passed on:
what is said about a failure is said in words of our own.
"""

from __future__ import annotations

import importlib
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable
from urllib.parse import quote, urlencode

from ansible.module_utils.eodhd.budget import Budget, Stopped
from ansible.module_utils.eodhd.model import Outcome
from ansible.module_utils.reporting import Problem

CHUNK = 1 << 18
# Bodies that are no data are short; anything larger than this is not read to its end.
LARGEST = 256 << 20


class Stop(Problem):
    """No further request makes sense in this run.

    Attributes:
        kind: ``refused`` (the token), ``quota`` (until 00:00 GMT) or ``plan`` (what the account may ask).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """What came of one call.

    Attributes:
        outcome: None where ``body`` is data; otherwise why there is none.
        body: as received.
        calls: how many the account was charged, as far as is known.
        requests: how many were sent.
        message: what went wrong, for people.
    """

    outcome: Outcome | None
    body: bytes
    calls: int
    requests: int
    message: str = ""

    def without_body(self) -> Answer:
        """Return the same without the body, which is large and read by now."""
        return replace(self, body=b"")


@dataclass(frozen=True)
class Policy:
    """Bounds of one call.

    Attributes:
        connect, read: seconds for the connection, and for each wait for data.
        total: seconds for one whole answer.
        tries: requests at most where the service or the line is at fault.
        tries_limited: requests at most where the minute limit is.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float = 120.0
    tries: int = 5
    tries_limited: int = 12


_STOPS = {
    401: (
        "refused",
        "EODHD refuses the token (401)."
        " Set eodhd_api_token (vault_eodhd_api_token in the vault) to a valid one.",
    ),
    402: (
        "quota",
        "The account's calls of today are spent (402). What is loaded stays; run the same command again after"
        " 00:00 GMT and the rest follows without paying twice.",
    ),
    423: (
        "plan",
        "The account's plan has no bulk requests (423): backfill_mode=daily and backfill_top need a paid plan."
        " Use backfill_mode=history with backfill_symbols.",
    ),
}
_OUTCOMES: dict[int, tuple[Outcome, int, str]] = {
    403: ("forbidden", 0, "not in the account's plan (403); if all are, check eodhd_api_token too"),
    404: ("unknown", 1, "EODHD knows no such symbol or exchange (404); check the spelling and the suffix"),
    422: ("rejected", 0, "EODHD calls the request malformed (422); check symbol and dates"),
}


class Client:
    """Sends requests; may be used by many threads at once.

    Args:
        base_url: of the service, without a query.
        token: goes into every query.
        budget: says when a request may be sent.
        stop: set when the run ends early.
        connections: how many are kept open.
        policy: bounds of each call.
        clock, jitter: in seconds, and a random number in [0, 1).
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        budget: Budget,
        stop: threading.Event,
        connections: int = 1,
        policy: Policy = Policy(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._token = token
        self._budget = budget
        self._stop = stop
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self._reading = threading.Lock()
        self._requests = _requests()
        self._http_error: Any = importlib.import_module("urllib3.exceptions").HTTPError
        self._adapter = self._requests.adapters.HTTPAdapter(
            pool_connections=1, pool_maxsize=max(1, connections), max_retries=0
        )
        # Preparing a request takes requests longer than sending it, so that is done once; only URLs differ.
        # The environment's proxies and certificates hold; a .netrc does not.
        try:
            with self._requests.Session() as session:
                self._settings = session.merge_environment_settings(self._base, {}, True, None, None)
                session.trust_env = False
                self._template = session.prepare_request(self._requests.Request("GET", self._base))
        except (self._requests.RequestException, ValueError) as error:
            raise Problem(
                f"eodhd_base_url cannot be used: {_words(error)} (group_vars/all/eodhd.yml)."
            ) from None

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()

    def get(
        self, path: str, usable: Callable[[bytes], Any], query: Mapping[str, Any] | None = None, cost: int = 1
    ) -> tuple[Answer, Any]:
        """Make one call, repeating it within the bounds of the policy.

        Args:
            path: below the base URL, its parts separated by ``/``.
            usable: reads a body; raises ``ValueError`` where it is not what was asked for.
            query: further parameters; those that are None are left out.
            cost: calls that the account is charged for an answer.

        Returns:
            tuple: the answer, and what ``usable`` made of its body.

        Raises:
            Stop: the service refuses every further call.
            Stopped: the run was stopped first.
        """
        calls = sent = faults = limited = 0
        while True:
            self._budget.acquire()
            sent += 1
            status, body, retry_after, fault = self._send(path, query or {})
            if status in _STOPS:
                raise Stop(*_STOPS[status])
            if status in _OUTCOMES:
                outcome, charged, message = _OUTCOMES[status]
                return Answer(outcome, b"", calls + charged, sent, message), None
            if status == 200:
                calls += cost
                try:
                    # One at a time: more would only take the interpreter from the threads that store.
                    with self._reading:
                        return Answer(None, body, calls, sent), usable(body)
                except ValueError:
                    fault = "an answer that is not the JSON list asked for"
            if status == 429:
                limited += 1
                self._budget.pause(min(60.0, max(retry_after, 1.5**limited * (0.5 + self._jitter()))))
                fault = "the minute limit (429)"
            else:
                faults += 1
            if faults >= self._policy.tries or limited >= self._policy.tries_limited:
                return Answer("failed", b"", calls, sent, f"{sent} requests, the last met {fault}"), None
            if status != 429 and self._stop.wait(2**faults * 0.25 * (0.5 + self._jitter())):
                raise Stopped

    def _send(self, path: str, query: Mapping[str, Any]) -> tuple[int, bytes, float, str]:
        """Return status (0 without an answer), body, ``Retry-After`` in seconds, and a fault in words."""
        parameters = {"api_token": self._token, "fmt": "json", **query}
        request = self._template.copy()
        request.url = (
            f"{self._base}/{quote(path)}"
            f"?{urlencode({name: value for name, value in parameters.items() if value is not None})}"
        )
        policy, started = self._policy, self._clock()
        try:
            # Without a session nothing follows a redirect, which would carry the token to another place.
            with self._adapter.send(
                request, timeout=(policy.connect, policy.read), **self._settings
            ) as answer:
                self._budget.observe(answer.headers)
                chunks, size = [], 0
                for chunk in _pieces(answer):
                    chunks.append(chunk)
                    size += len(chunk)
                    if self._clock() - started > policy.total or size > LARGEST:
                        return 0, b"", 0.0, f"an answer of over {policy.total:g} s or {LARGEST >> 20} MB"
                promised = answer.headers.get("Content-Length")
                if promised and "Content-Encoding" not in answer.headers and int(promised) != size:
                    return 0, b"", 0.0, "a cut answer"
                fault = f"status {answer.status_code}"
                return answer.status_code, b"".join(chunks), _seconds(answer.headers), fault
        except (self._requests.Timeout, TimeoutError):
            return 0, b"", 0.0, f"no data for {policy.read:g} s"
        except (self._requests.RequestException, self._http_error, OSError) as error:
            return 0, b"", 0.0, _words(error)


def _pieces(answer: Any) -> Iterator[bytes]:
    """Yield a body as it arrives. Waiting for full pieces would let a trickle go on past every time-out."""
    read = getattr(answer.raw, "read1", None)
    if read is None:  # urllib3 before 2
        yield from answer.iter_content(1 << 12)
        return
    while True:
        piece = read(CHUNK, decode_content=True)
        if not piece:
            return
        yield piece


def _requests() -> Any:
    try:
        import requests
    except ImportError as error:
        raise Problem(
            "This Python has no requests. Keep requests in project_packages, and build the environment with"
            " `ansible-playbook playbooks/reset.yml --tags venv`."
        ) from error
    return requests


def _words(error: Exception) -> str:
    """Say what kind of failure this is; its own text holds the URL."""
    kind = type(error).__name__
    return {
        "ConnectionError": "a connection that failed or was closed",
        "ChunkedEncodingError": "a cut answer",
        "IncompleteRead": "a cut answer",
        "ProtocolError": "a cut answer",
        "DecodeError": "a cut answer",
        "ReadTimeoutError": "an answer that stopped",
        "SSLError": "a TLS failure (check eodhd_base_url and the host's certificates)",
        "ProxyError": "a proxy that refuses (check HTTPS_PROXY on the host)",
        "InvalidURL": "an invalid eodhd_base_url",
        "InvalidSchema": "an eodhd_base_url without http(s)://",
        "MissingSchema": "an eodhd_base_url without http(s)://",
    }.get(kind, kind)


def _seconds(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
