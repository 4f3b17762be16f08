"""Answers that were paid for but are not stored yet, one private file each.

A file is written when its answer arrives, and removed when the ledger has it. A remaining file belongs to a run that
was killed in between, and the next run uses it instead of making the call. While a request is in flight its file is
locked, so that a run that starts meanwhile waits for the answer. Nothing is synced: a kill does not lose the page
cache, a power cut does. A file's name is a digest of the request, without the token.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from ansible.module_utils.eodhd.service.statuses import PAID
from ansible.module_utils.eodhd.service.transport import Policy, Reply

# Seconds to wait for an answer in flight, and between two checks.
TIMEOUT = Policy().longest + 5
_POLL = 0.01


class Unusable(Exception):
    """The folder cannot be used; the text says why."""


class Spool:
    """A folder of answers.

    Args:
        folder: created if it is missing, private to its user.
        base_url: of the service that the answers come from.
        hours: older answers are ignored.

    Raises:
        Unusable: the folder cannot be created, or is not private to this user.
    """

    def __init__(self, folder: str, base_url: str, hours: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._kept: set[str] = set()
        self._seconds = hours * 3600
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

    def put(self, name: str, reply: Reply, received: float) -> None:
        """Keep an answer that was received earlier."""
        with self.in_flight(name) as keep:
            keep(reply)
        with contextlib.suppress(OSError):
            os.utime(name, (received, received), dir_fd=self.fd, follow_symlinks=False)

    def take(self, name: str, stop: threading.Event | None = None) -> Reply | None:
        """Return the answer of that name, after waiting for one in flight; None if there is none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError:
            return None
        with open(fd, "rb") as file:
            if not _wait(fd, stop or threading.Event()):
                return None
            fresh = time.time() - os.fstat(fd).st_mtime <= self._seconds
            reply = _parsed(file.read()) if fresh else None
        if reply is None:
            self.drop(name)
        return reply

    @contextlib.contextmanager
    def in_flight(self, name: str) -> Iterator[Callable[[Reply], None]]:
        """Lock the file of a request that is about to be sent; yield a function that keeps its answer.

        Without a name, or if the file system refuses, the answer is not kept, but the run still gets it.
        """
        fd = self._locked(name)
        if fd is None:
            yield lambda reply: None
            return
        kept = False

        def keep(reply: Reply) -> None:
            nonlocal kept
            if reply.status in PAID:
                head = {"status": reply.status, "sha256": hashlib.sha256(reply.body).hexdigest()}
                with contextlib.suppress(OSError), open(fd, "wb", closefd=False) as file:
                    file.write(json.dumps(head).encode() + b"\n" + reply.body)
                    file.flush()
                    kept = True
                    self._kept.add(name)

        try:
            yield keep
        finally:
            if not kept:
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

    def sweep(self) -> None:
        """Remove answers that are too old to be used."""
        for name in os.listdir(self.fd):
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
                if not name.startswith(".") and time.time() - found.st_mtime > self._seconds:
                    os.unlink(name, dir_fd=self.fd)


def _wait(fd: int, stop: threading.Event) -> bool:
    """Wait until no process writes the file; return False if that takes too long or the run stops."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        if stop.wait(_POLL):
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
