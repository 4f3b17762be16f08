"""A process that sends the requests and holds the run's claims, so that a killed run loses no answer.

It is a fork that can reach the service, the spool and the database. When the run ends, for whatever reason, its
channels close. The courier then waits for the requests in flight, puts what the run did not store into the database,
where every host finds it, and only then releases the claims. So nobody requests it again in between.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible.module_utils.database.connection import driver
from ansible.module_utils.database.errors import Unreachable, meaning
from ansible.module_utils.eodhd.ledger.claims import Claims
from ansible.module_utils.eodhd.service.spool import Spool
from ansible.module_utils.eodhd.service.transport import Reply, Transport
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.reporting import Problem

# Seconds to wait at the end for an idle courier to exit.
_EXIT_TIMEOUT = 5.0
# What a channel raises if its other end is closed.
_CLOSED = (OSError, EOFError, pickle.UnpicklingError)


class Courier:
    """Sends requests from its own process; create it before any thread.

    Args:
        transport: sends one request.
        spool: keeps each answer before the run gets it.
        database: used only by the courier.
    """

    def __init__(self, transport: Transport, spool: Spool, database: Database) -> None:
        # One more, so that claims do not wait for an answer.
        pairs = [socket.socketpair() for _ in range(transport.connections + 1)]
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _serve(transport, spool, database, [theirs for _, theirs in pairs])
            finally:
                os._exit(0)
        self._open: list[tuple[socket.socket, Any]] = []
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Every request ends within the limits of the policy; this timeout is for a suspended courier.
        timeout = transport.policy.longest + 10
        for ours, theirs in pairs:
            theirs.close()
            ours.settimeout(timeout)
            channel = ours.makefile("rwb")
            self._open.append((ours, channel))
            self._free.put(channel)

    def send(self, path: str, query: Mapping[str, Any], name: str) -> Reply:
        """Make one request; its answer is kept under ``name``.

        Raises:
            Problem: the courier has ended.
        """
        reply: Reply = self._call("send", path, query, name)
        return reply

    def claim(self, names: Iterable[str]) -> set[str]:
        """See ``Claims.claim``."""
        claimed: set[str] = self._call("claim", list(names))
        return claimed

    def release(self, names: Iterable[str]) -> None:
        """See ``Claims.release``."""
        self._call("release", list(names))

    def _call(self, what: str, *asked: Any) -> Any:
        channel = self._free.get()
        try:
            pickle.dump((what, asked), channel)
            channel.flush()
            result, error = pickle.load(channel)  # noqa: S301 - of our own fork
        except _CLOSED:
            raise Problem(
                "The process that sends requests to EODHD was killed. Run the same command again to load the rest"
                " without paying twice."
            ) from None
        finally:
            self._free.put(channel)
        if error:
            raise Unreachable(*error)
        return result

    def close(self) -> None:
        """Let the courier end; it finishes the requests in flight by itself."""
        for ours, channel in self._open:
            with contextlib.suppress(OSError), ours:
                ours.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                channel.close()
        deadline = time.monotonic() + _EXIT_TIMEOUT
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self._pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.001)


def _serve(transport: Transport, spool: Spool, database: Database, channels: list[socket.socket]) -> None:
    """Run the courier until the run has ended and its answers are safe."""
    # Never free inherited objects: that would close file descriptors that other files use by then.
    gc.freeze()
    # Close what belongs to the run: its output, and its ends of the channels, whose closing shows that it has ended.
    # Signals to the run's process group must not reach the courier.
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

    def send(path: str, query: Mapping[str, Any], name: str) -> Reply:
        with spool.in_flight(name) as keep:
            reply = transport.send(path, query)
            keep(reply)
        return reply

    claims = Claims(database)
    database.prepare()
    work = {"send": send, "claim": claims.claim, "release": claims.release}
    threads = [threading.Thread(target=_serve_channel, args=(channel, work)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _save_unstored(spool, database)
    database.close()


def _serve_channel(channel: socket.socket, work: Mapping[str, Callable[..., Any]]) -> None:
    """Do the work that a channel requests until its other end is closed."""
    with channel, contextlib.suppress(*_CLOSED), channel.makefile("rwb") as messages:
        while True:
            what, asked = pickle.load(messages)  # noqa: S301 - of the run
            result, failure = None, None
            try:
                result = work[what](*asked)
            except (Unreachable, driver().Error) as error:
                failure = (meaning(error), type(error).__name__)
            pickle.dump((result, failure), messages)
            messages.flush()


def _save_unstored(spool: Spool, database: Database) -> None:
    """Put what the run did not store into the database; if that is unreachable, it stays in the spool."""
    with contextlib.suppress(Unreachable, driver().Error):
        for name, reply, received in spool.unstored():
            database.execute(
                "INSERT INTO backfill_answer (name, status, body, received)"
                " VALUES (%s, %s, %s, to_timestamp(%s)) ON CONFLICT (name) DO UPDATE SET"
                " status = EXCLUDED.status, body = EXCLUDED.body, received = EXCLUDED.received",
                (name, reply.status, reply.body, received),
            )
            spool.drop(name)
