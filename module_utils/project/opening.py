"""Open a project root for a call: check the guards, and allow one reset at a time.

The lock is advisory (flock), on a file in the private folder. The kernel releases it when its process ends, so a
killed run does not block the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.project import guards
from ansible.module_utils.project.guards import STATE, Facts
from ansible.module_utils.project.quarantine import Quarantine, me
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

_LOCK = "lock"
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class OpenRoot:
    """An open root that passed the guards."""

    folder: Directory
    facts: Facts
    quarantine: Quarantine | None  # None if nothing was ever moved in this root
    _stack: contextlib.ExitStack

    def changing(self) -> Quarantine:
        """Return the quarantine, complete and signed; if the root never had one, make and lock it first."""
        if self.quarantine is None:
            made = self._stack.enter_context(Quarantine.make(self.folder))
            self._stack.enter_context(held(made.state))
            if made.runs():
                raise Problem(
                    f"Another reset of {self.folder.path} ran after this one was planned. Run this one again."
                    " Nothing was touched."
                )
            self.quarantine = made
        self.quarantine.prepare()
        sign(self.quarantine.state)
        return self.quarantine


@contextlib.contextmanager
def opened(params: dict[str, Any], check_mode: bool) -> Iterator[OpenRoot]:
    """Check the guards that need no plan, open the root, and hold its lock unless in check mode.

    An OSError in the block becomes a Problem.
    """
    guards.check_names(params.get("artifacts") or [], params["protected"])
    facts = guards.facts(params["root"])
    with contextlib.ExitStack() as stack:
        stack.enter_context(reported(params["root"]))
        folder = stack.enter_context(guards.open_root(params["root"], facts))
        guards.check_protected(folder, params["protected"])
        guards.check_state(folder)
        quarantine = Quarantine.find(folder)
        if quarantine is not None:
            stack.enter_context(quarantine)
            if check_mode:
                check(quarantine.state)
            else:
                stack.enter_context(held(quarantine.state))
        yield OpenRoot(folder, facts, quarantine, stack)


_ADVICE = {
    errno.EACCES: "run this as its owner or as root (ansible_user, become)",
    errno.EPERM: "run this as its owner or as root (ansible_user, become), and check whether it is marked immutable",
    errno.EROFS: "the file system is read-only; remount it",
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the quota is used up; free some space",
    errno.ELOOP: "a link has replaced a folder; find out who made it",
    errno.ENOTDIR: "something else has replaced a folder; find out who made it",
}


@contextlib.contextmanager
def reported(path: str) -> Iterator[None]:
    """Turn an OSError into a Problem that says what to do."""
    try:
        yield
    except OSError as error:
        where = os.path.join(path, os.fsdecode(error.filename2 or error.filename or ""))
        advice = _ADVICE.get(error.errno or 0, "see the system's log")
        raise Problem(
            f"{where}: {error.strerror}: {advice}. Nothing is lost: what was moved is in {path}/{STATE}, and the next"
            " reset continues from there."
        ) from error


@contextlib.contextmanager
def held(state: Directory) -> Iterator[None]:
    """Hold the lock; raises Problem if another run holds it."""
    # NFS locks only what is open for writing.
    fd = os.open(_LOCK, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600, dir_fd=state.fd)
    try:
        state.give(fd)
        if not _try_lock(fd, fcntl.LOCK_EX):
            raise _busy(state, _owner(fd))
        yield
    finally:
        os.close(fd)


def holder(state: Directory) -> str | None:
    """Return who holds the lock, for people, or None; does not take the lock or write anything."""
    try:
        fd = os.open(_LOCK, os.O_RDONLY | _FLAGS, dir_fd=state.fd)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(fd, fcntl.LOCK_SH) else _owner(fd)
    finally:
        os.close(fd)


def check(state: Directory) -> None:
    """Raise Problem if a run holds the lock; for plans, which do not take it."""
    who = holder(state)
    if who:
        raise _busy(state, who)


def sign(state: Directory) -> None:
    """Write into the file that this process holds the lock; the caller holds it."""
    fd = os.open(_LOCK, os.O_WRONLY | os.O_TRUNC | _FLAGS, dir_fd=state.fd)
    try:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.pwrite(fd, json.dumps({**me(), "since": since}).encode(), 0)
    finally:
        os.close(fd)


def _try_lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy(state: Directory, who: str) -> Problem:
    return Problem(
        f"Another reset of {os.path.dirname(state.path)} is running: {who}. Wait until it ends."
        " If hosts share this root, set reset_batch: 1. Nothing was touched."
    )


def _owner(fd: int) -> str:
    # The file may still name a run that was killed.
    with contextlib.suppress(ValueError, KeyError, TypeError):
        signed = json.loads(os.pread(fd, 4096, 0))
        if os.path.exists(f"/proc/{signed['pid']}"):
            return f"{signed['user']}, pid {signed['pid']}, since {signed['since']}"
    return "it has just started"
