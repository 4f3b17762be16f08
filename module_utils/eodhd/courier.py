"""Keeps the answers of a killed run: the spool holds them in files, the courier is a process that outlives the run.

The spool has a private file for each answer that was paid for but is not stored yet. A file is written when its answer
arrives, and removed when the ledger has it. A remaining file belongs to a run that was killed in between, and the next
run uses it instead of making the call. While a request is in flight its file is locked, so that a run that starts
meanwhile waits for the answer. Nothing is synced: a kill does not lose the page cache, a power cut does. A file's name
is a digest of the request, without the token.

The courier sends the requests and holds the run's claims. It is a fork that can reach the service, the spool and the
database. When the run ends, for whatever reason, its channels close. The courier then waits for the requests in flight,
puts what the run did not store into the database, where every host finds it, and only then releases the claims. So
nobody requests it again in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import json
import os
import pickle
import queue
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable

from ansible.module_utils.database.connection import Unreachable, driver, meaning
from ansible.module_utils.eodhd.api import PAID, Policy, Reply, Transport
from ansible.module_utils.eodhd.ledger import Claims
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.reporting import Problem

# Seconds to wait for an answer in flight, and at the end for an idle courier to exit.
TIMEOUT = Policy().longest + 5
_EXIT_TIMEOUT = 5.0
# What a channel raises if its other end is closed.
_CLOSED = (OSError, EOFError, pickle.UnpicklingError)


class Unusable(Exception):
    """The folder cannot be used; the text says why."""


class Spool:
    """A folder of answers.

    Args:
        folder: created if it is missing, private to its user.
        base_url: of the service that the answers come from.
        hours: older answers are removed.

    Raises:
        Unusable: the folder cannot be created, or is not private to this user.
    """

    def __init__(self, folder: str, base_url: str, hours: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._kept: set[str] = set()
        self.hours = hours
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
                with open(os.path.join(folder, ".gitignore"), "x", encoding="ascii") as file:
                    file.write("*\n")
            self.fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise Unusable(f"{folder}: {error.strerror}") from None
        found = os.fstat(self.fd)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            self.close()
            raise Unusable(f"{folder} is not private to the user of this run")
        for name in os.listdir(self.fd):
            with contextlib.suppress(OSError):
                received = os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mtime
                if not name.startswith(".") and time.time() - received > hours * 3600:
                    self.drop(name)

    def close(self) -> None:
        """Close the folder."""
        os.close(self.fd)

    def name(self, path: str, query: Mapping[str, Any]) -> str:
        """Return the file name of a request's answer."""
        asked = [self._base_url, path, sorted((key, str(value)) for key, value in query.items())]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:40]

    def unstored(self) -> Iterator[tuple[str, Reply, float]]:
        """Yield what this process kept and nobody has removed since: name, answer, time of receipt."""
        for name in sorted(self._kept):
            with contextlib.suppress(OSError):
                received = os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mtime
                reply = self.take(name)
                if reply:
                    yield name, reply, received

    def take(self, name: str, stop: threading.Event | None = None) -> Reply | None:
        """Return the answer of that name, after waiting for one in flight; None if there is none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError:
            return None
        with open(fd, "rb") as file:
            if not _wait(fd, stop or threading.Event()):
                return None
            fresh = time.time() - os.fstat(fd).st_mtime <= self.hours * 3600
            reply = _parsed(file.read()) if fresh else None
        if reply is None:
            self.drop(name)
        return reply

    def keeping(self, name: str, send: Callable[[], Reply]) -> Reply:
        """Return what ``send`` returns, after keeping it; meanwhile the file of that name is locked.

        Without a name, or if the file system refuses, the answer is not kept, but the run still gets it.
        """
        fd = self._locked(name)
        if fd is None:
            return send()
        self._kept.discard(name)
        try:
            reply = send()
            if reply.status in PAID:
                head = {"status": reply.status, "sha256": hashlib.sha256(reply.body).hexdigest()}
                with contextlib.suppress(OSError), open(fd, "wb", closefd=False) as file:
                    file.write(json.dumps(head).encode() + b"\n" + reply.body)
                    file.flush()
                    self._kept.add(name)
            return reply
        finally:
            if name not in self._kept:
                self.drop(name)
            os.close(fd)

    def _locked(self, name: str) -> int | None:
        """Return the file of that name, empty and locked; None if it cannot be opened or another process writes it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Not if it is new: ext4 writes a truncated file to the disk at once, and its removal would wait for that.
            if os.fstat(fd).st_size:
                os.ftruncate(fd, 0)
        except OSError:
            os.close(fd)
            return None
        return fd

    def drop(self, name: str) -> None:
        """Remove an answer, if it exists."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.fd)


def _wait(fd: int, stop: threading.Event) -> bool:
    """Wait until no process writes the file; return False if that takes too long or the run stops."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        if stop.wait(0.01):
            break
    return False


def _parsed(content: bytes) -> Reply | None:
    """Return the answer in a file; None if it is incomplete."""
    head, _, body = content.partition(b"\n")
    try:
        facts = json.loads(head)
        whole = facts["sha256"] == hashlib.sha256(body).hexdigest()
        return Reply(int(facts["status"]), body) if whole and facts["status"] in PAID else None
    except (ValueError, KeyError, TypeError):
        return None


class Courier:
    """Sends requests from its own process, which alone uses ``database``; create it before any thread."""

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
        return spool.keeping(name, lambda: transport.send(path, query))

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
