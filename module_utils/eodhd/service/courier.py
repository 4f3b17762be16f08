"""A process that does the asking and holds the run's claims, so that a kill of the run loses no answer.

It is a fork that knows the service, the spool and the database's place. If the run ends, in whatever way, its
channels close. The courier then waits for what is under way, puts what the run did not store into the database, where
every host finds it, and only then lets go of the claims: nobody asks for it again in between.
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
from ansible.module_utils.eodhd.service.transport import Policy, Reply, Transport
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.reporting import Problem

# Seconds that a courier without work is waited for at the end.
_FAREWELL = 5.0
# What a channel whose other side is gone raises.
_GONE = (OSError, EOFError, pickle.UnpicklingError)


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
        # One more for claims, which wait for no answer then.
        pairs = [socket.socketpair() for _ in range(max(1, places) + 1)]
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _serve(transport, spool, database, [theirs for _, theirs in pairs])
            finally:
                os._exit(0)
        self._open: list[tuple[socket.socket, Any]] = []
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for ours, theirs in pairs:
            theirs.close()
            # Every request ends by itself within the policy; this is for a courier that was stopped.
            ours.settimeout(policy.connect + policy.total + policy.read + 10)
            channel = ours.makefile("rwb")
            self._open.append((ours, channel))
            self._free.put(channel)

    def send(self, path: str, query: Mapping[str, Any], name: str) -> Reply:
        """Make one request, its answer kept under ``name``.

        Raises:
            Problem: the courier is gone.
        """
        reply: Reply = self._ask("send", path, query, name)
        return reply

    def claim(self, names: Iterable[str]) -> set[str]:
        """See ``Claims.claim``."""
        claimed: set[str] = self._ask("claim", list(names))
        return claimed

    def release(self, names: Iterable[str]) -> None:
        """See ``Claims.release``."""
        self._ask("release", list(names))

    def _ask(self, what: str, *asked: Any) -> Any:
        channel = self._free.get()
        try:
            pickle.dump((what, asked), channel)
            channel.flush()
            said, trouble = pickle.load(channel)  # noqa: S301 - of our own fork
        except _GONE:
            raise Problem(
                "The process that asks EODHD was ended from outside. Run the same command again;"
                " the rest follows without paying twice."
            ) from None
        finally:
            self._free.put(channel)
        if trouble:
            raise Unreachable(*trouble)
        return said

    def close(self) -> None:
        """Let the courier end; what is still under way it finishes alone."""
        for ours, channel in self._open:
            with contextlib.suppress(OSError), ours:
                ours.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                channel.close()
        deadline = time.monotonic() + _FAREWELL
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self._pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.001)


def _serve(transport: Transport, spool: Spool, database: Database, channels: list[socket.socket]) -> None:
    """The courier's whole life."""
    # What was inherited is never freed: it would close files by numbers that belong to others by then.
    gc.freeze()
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

    def send(path: str, query: Mapping[str, Any], name: str) -> Reply:
        with spool.under_way(name) as keep:
            reply = transport.send(path, query)
            keep(reply)
        return reply

    claims = Claims(database)
    database.prepare()
    work = {"send": send, "claim": claims.claim, "release": claims.release}
    threads = [threading.Thread(target=_answer, args=(channel, work)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _hand_over(spool, database)
    database.close()


def _answer(channel: socket.socket, work: Mapping[str, Callable[..., Any]]) -> None:
    """Do what comes by a channel until its other side is gone."""
    with channel, contextlib.suppress(*_GONE), channel.makefile("rwb") as messages:
        while True:
            what, asked = pickle.load(messages)  # noqa: S301 - of the run
            said, trouble = None, None
            try:
                said = work[what](*asked)
            except (Unreachable, driver().Error) as error:
                trouble = (meaning(error), type(error).__name__)
            pickle.dump((said, trouble), messages)
            messages.flush()


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
