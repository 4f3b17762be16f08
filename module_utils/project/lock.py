"""One reset at a time on a root: an advisory lock (flock) on a file in the private folder.

The kernel gives it up with the process that holds it, however that process ends: a killed run blocks nobody.
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
    """Who this process works for: ``user`` (the login that used sudo, if one did) and ``pid``."""
    try:
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return {"user": user, "pid": os.getpid()}


@contextlib.contextmanager
def held(state: Directory) -> Iterator[None]:
    """Hold the root for the block; raises Problem if another run has it."""
    fd = os.open(_FILE, os.O_RDONLY | os.O_CREAT | _FLAGS, 0o600, dir_fd=state.fd)
    try:
        state.give(fd)
        if not _taken(fd, fcntl.LOCK_EX):
            raise _refused(state, _who(fd))
        yield
    finally:
        os.close(fd)


def holder(state: Directory) -> str | None:
    """Who has the root now, for people, or None; holds nothing and writes nothing."""
    try:
        fd = os.open(_FILE, os.O_RDONLY | _FLAGS, dir_fd=state.fd)
    except FileNotFoundError:
        return None
    try:
        return None if _taken(fd, fcntl.LOCK_SH) else _who(fd)
    finally:
        os.close(fd)


def check(state: Directory) -> None:
    """Raise Problem if a run has the root; for plans, which neither hold it nor write anything."""
    who = holder(state)
    if who:
        raise _refused(state, who)


def sign(state: Directory) -> None:
    """Say in the file who holds the root; the caller does."""
    fd = os.open(_FILE, os.O_WRONLY | os.O_TRUNC | _FLAGS, dir_fd=state.fd)
    try:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.pwrite(fd, json.dumps({**me(), "since": since}).encode(), 0)
    finally:
        os.close(fd)


def _taken(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refused(state: Directory, who: str) -> Problem:
    return Problem(
        f"Another reset of {os.path.dirname(state.path)} is under way: {who}. Wait for it to end."
        " If hosts share this root, set reset_batch: 1. Nothing was touched."
    )


def _who(fd: int) -> str:
    # What a killed run has left in the file is no answer.
    with contextlib.suppress(ValueError, KeyError, TypeError):
        said = json.loads(os.pread(fd, 4096, 0))
        if os.path.exists(f"/proc/{said['pid']}"):
            return f"{said['user']}, pid {said['pid']}, since {said['since']}"
    return "it has just begun"
