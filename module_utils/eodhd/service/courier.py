"""A process that does the asking and holds the run's claims, so that a kill of the run loses no answer.

It is a fork that knows the service, the spool and the database's place. If the run ends, in whatever way, its
channels close. The courier then waits for what is under way, puts what the run did not store into the database, where
every host finds it, and only then lets go of the claims: nobody asks for it again in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.database.connection import driver
from ansible.module_utils.database.errors import Unreachable, meaning
from ansible.module_utils.eodhd.ledger.claims import Claims
from ansible.module_utils.eodhd.service.spool import Spool
from ansible.module_utils.eodhd.service.transport import Policy, Reply, Transport
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.reporting import Problem

_SIZES = struct.Struct(">IQ")
# Seconds that a courier without work is waited for at the end.
_FAREWELL = 5.0


class Courier:
    """Sends requests from a process of its own; to be made before any thread is.

    Args:
        transport: sends one request.
        spool: where each answer is kept before the run gets it.
        database: asked by the courier alone.
        places: how many may be under way at once.
        policy: the transport's.
    """

    def __init__(
        self,
        transport: Transport,
        spool: Spool,
        database: Database,
        places: int,
        policy: Policy = Policy(),  # noqa: B008 - frozen
    ) -> None:
        pairs = [socket.socketpair() for _ in range(max(1, places) + 1)]
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _serve(transport, spool, database, [theirs for _, theirs in pairs])
            finally:
                os._exit(0)
        self._channels: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._open = [ours for ours, _ in pairs]
        for ours, theirs in pairs:
            theirs.close()
            # Every request ends by itself within the policy; this is for a courier that was stopped.
            ours.settimeout(policy.connect + policy.total + policy.read + 10)
        self._claiming, *asking = self._open
        for ours in asking:
            self._channels.put(ours)

    def send(self, path: str, query: Mapping[str, Any], name: str | None = None) -> Reply:
        """Make one request, its answer kept under ``name``.

        Raises:
            Problem: the courier is gone.
        """
        asked = {
            "path": path,
            "query": {key: value and str(value) for key, value in query.items()},
            "name": name,
        }
        channel = self._channels.get()
        try:
            facts, body = _ask(channel, asked)
            return Reply(body=body, **facts)
        finally:
            self._channels.put(channel)

    def claim(self, names: Iterable[str]) -> set[str]:
        """See ``Claims.claim``."""
        return self._claims({"claim": list(names)})

    def release(self, names: Iterable[str]) -> None:
        """See ``Claims.release``."""
        self._claims({"release": list(names)})

    def _claims(self, asked: Mapping[str, Any]) -> set[str]:
        facts, _ = _ask(self._claiming, asked)
        if facts["unreachable"]:
            raise Unreachable(*facts["unreachable"])
        return set(facts["claimed"])

    def close(self) -> None:
        """Let the courier end; what is still under way it finishes alone."""
        for channel in self._open:
            channel.close()
        deadline = time.monotonic() + _FAREWELL
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self._pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.001)


def _ask(channel: socket.socket, asked: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Send a message to the courier and return its answer."""
    try:
        _put(channel, asked)
        return _get(channel)
    except OSError:
        raise Problem(
            "The process that asks EODHD was ended from outside. Run the same command again;"
            " the rest follows without paying twice."
        ) from None


def _serve(transport: Transport, spool: Spool, database: Database, channels: list[socket.socket]) -> None:
    """The courier's whole life."""
    # Nothing of the run's may be kept open: its output, and the other ends of the channels, whose closing tells that
    # it ended. Signals to its group are its own affair.
    keep = {0, 1, 2, spool.fd, *(channel.fileno() for channel in channels)}
    for fd in sorted(map(int, os.listdir("/dev/fd"))):
        if fd not in keep:
            with contextlib.suppress(OSError):
                os.close(fd)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    database.prepare()
    claiming, *asking = channels
    threads = [threading.Thread(target=_answer, args=(transport, spool, channel)) for channel in asking]
    for thread in threads:
        thread.start()
    _claim(Claims(database), claiming)
    for thread in threads:
        thread.join()
    _hand_over(spool, database)
    database.close()


def _claim(claims: Claims, channel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            asked, _ = _get(channel)
            said: dict[str, Any] = {"unreachable": None, "claimed": []}
            try:
                if "claim" in asked:
                    said["claimed"] = sorted(claims.claim(asked["claim"]))
                else:
                    claims.release(asked["release"])
            except (Unreachable, driver().Error) as error:
                said["unreachable"] = [meaning(error), type(error).__name__]
            _put(channel, said)


def _hand_over(spool: Spool, database: Database) -> None:
    """Put what the run did not store into the database; if that is away, it stays in the spool."""
    with contextlib.suppress(Unreachable, driver().Error):
        for name, reply, received in spool.left():
            database.execute(
                "INSERT INTO backfill_answer (name, status, body, received)"
                " VALUES (%s, %s, %s, to_timestamp(%s)) ON CONFLICT DO NOTHING",
                (name, reply.status, reply.body, received),
            )
            spool.drop(name)


def _answer(transport: Transport, spool: Spool, channel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            asked, _ = _get(channel)
            with spool.under_way(asked["name"]) as keep:
                reply = transport.send(asked["path"], asked["query"])
                keep(reply)
            _put(
                channel,
                {"status": reply.status, "headers": dict(reply.headers), "fault": reply.fault},
                reply.body,
            )


def _put(channel: socket.socket, facts: Mapping[str, Any], body: bytes = b"") -> None:
    head = json.dumps(facts).encode()
    channel.sendall(_SIZES.pack(len(head), len(body)) + head)
    if body:
        channel.sendall(body)


def _get(channel: socket.socket) -> tuple[dict[str, Any], bytes]:
    """One message; OSError if the other side is gone."""
    head, body = _SIZES.unpack(_exactly(channel, _SIZES.size))
    facts: dict[str, Any] = json.loads(_exactly(channel, head))
    return facts, bytes(_exactly(channel, body))


def _exactly(channel: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
        count = channel.recv_into(view[filled:])
        if not count:
            raise ConnectionResetError
        filled += count
    return content
