"""Allow one reset at a time on a root: an advisory lock (flock) on a file in the private folder.

The kernel releases the lock when its process ends, so a killed run does not block the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import time
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

_FILE = "lock"
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


def me() -> dict[str, Any]:
    """Return ``user`` (the login behind sudo, if there is one) and ``pid`` of this process."""
    try:
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return {"user": user, "pid": os.getpid()}


@contextlib.contextmanager
def held(state: Directory) -> Iterator[None]:
    """Hold the lock; raises Problem if another run holds it."""
    # NFS locks only what is open for writing.
    fd = os.open(_FILE, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600, dir_fd=state.fd)
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
        fd = os.open(_FILE, os.O_RDONLY | _FLAGS, dir_fd=state.fd)
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
    fd = os.open(_FILE, os.O_WRONLY | os.O_TRUNC | _FLAGS, dir_fd=state.fd)
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
