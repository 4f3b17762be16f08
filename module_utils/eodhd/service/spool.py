"""Answers that were paid for and are not stored yet, one private file each.

A file is written when its answer is there, and removed when the ledger has it: what is found belongs to a run that was
killed in between, and the next run takes it instead of asking. While a request is under way its file is locked, so
that a run that begins meanwhile waits for the answer. Nothing is synced: a kill leaves the page cache, a power cut
does not. A name is a digest of what was asked, without the token.
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

from ansible.module_utils.eodhd.service.transport import Reply

# Answers that the account is charged for.
PAID = (200, 404)
# How long an answer under way is waited for, and how often it is looked for, in seconds.
PATIENCE = 130.0
_LOOK = 0.01


class Unusable(Exception):
    """The folder cannot be used; the text says why."""


class Spool:
    """A folder of answers.

    Args:
        folder: made if it is missing, for its user alone.
        base_url: of the service that the answers come from.
        hours: older answers are as if they were not there.

    Raises:
        Unusable: it cannot be made, or belongs to somebody else.
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
        """The name of a request's answer."""
        asked = [self._base_url, path, sorted((key, str(value)) for key, value in query.items())]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:40]

    def left(self) -> Iterator[tuple[str, Reply, float]]:
        """What this process kept and nobody took away since: name, answer, seconds of the epoch."""
        for name in sorted(self._kept):
            with contextlib.suppress(OSError):
                received = os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mtime
                reply = self.take(name)
                if reply:
                    yield name, reply, received

    def put(self, name: str, reply: Reply, received: float) -> None:
        """Keep an answer that was received before."""
        with self.under_way(name) as keep:
            keep(reply)
        with contextlib.suppress(OSError):
            os.utime(name, (received, received), dir_fd=self.fd, follow_symlinks=False)

    def take(self, name: str, stop: threading.Event | None = None) -> Reply | None:
        """The answer of that name, after waiting for one that is under way; None if there is none."""
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
    def under_way(self, name: str) -> Iterator[Callable[[Reply], None]]:
        """Lock the file of a request that is about to be sent; gives what keeps its answer.

        What the file system refuses is not kept: the answer still goes to the run.
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
        """The file of that name, empty and locked; None if it cannot be made or somebody else writes it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Not if it is new: ext4 writes a file that was cut to nothing to the disk at once, and its removal waits.
            if os.fstat(fd).st_size:
                os.ftruncate(fd, 0)
        except OSError:
            os.close(fd)
            return None
        return fd

    def drop(self, name: str) -> None:
        """Remove an answer, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.fd)

    def sweep(self) -> None:
        """Remove what is too old to be taken."""
        for name in os.listdir(self.fd):
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
                if not name.startswith(".") and time.time() - found.st_mtime > self._seconds:
                    os.unlink(name, dir_fd=self.fd)


def _wait(fd: int, stop: threading.Event) -> bool:
    """Wait until nobody writes the file any more."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        if stop.wait(_LOOK):
            break
    return False


def _parsed(content: bytes) -> Reply | None:
    """The answer in a file, None if it is not whole."""
    head, _, body = content.partition(b"\n")
    try:
        facts = json.loads(head)
        whole = facts["sha256"] == hashlib.sha256(body).hexdigest()
        return Reply(int(facts["status"]), body) if whole and facts["status"] in PAID else None
    except (ValueError, KeyError, TypeError):
        return None
