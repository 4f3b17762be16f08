"""One reset at a time on a root.

Two layers: an advisory lock (flock) for as long as one module works, which dies with its process; and a lease
for the time between the modules of one run. A lease names its holder, a process on a controller. The holder's
own controller knows which of its processes live, so a killed run blocks none of its successors; to any other
controller a lease counts until it has not been touched for ``LEASE`` seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any, Callable

from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

LEASE = 900.0  # seconds
_FILE = "lock"


def judge(lease: dict[str, Any] | None, holder: dict[str, Any], now: float) -> str | None:
    """Who keeps ``holder`` out, as text for people, or None.

    Args:
        lease: what the lock file says: ``holder`` and ``touched`` (seconds of the epoch).
        holder: the asking run: ``controller``, ``user``, ``pid``, ``process`` and ``alive``, the processes of
            Ansible that live on its controller.
        now: seconds of the epoch.
    """
    if not lease or now - lease["touched"] > LEASE:
        return None
    other = lease["holder"]
    if other["controller"] == holder["controller"] and other["process"] not in holder["alive"]:
        return None  # it was killed, or ended without a word
    if (other["controller"], other["process"]) == (holder["controller"], holder["process"]):
        return None
    return _who(lease)


@contextlib.contextmanager
def held(state: Directory, holder: dict[str, Any], clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Hold the root for the block; raises Problem where another run has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_FILE, flags, 0o600, dir_fd=state.fd)
    try:
        state.give(fd)
        keeper = _keeper(fd, fcntl.LOCK_EX, holder, clock)
        if keeper:
            raise refused(os.path.dirname(state.path), keeper)
        _touch(fd, holder, clock())
        yield
        if os.fstat(fd).st_size:  # not released meanwhile
            _touch(fd, holder, clock())
    finally:
        os.close(fd)


def keeper(state: Directory, holder: dict[str, Any], clock: Callable[[], float] = time.time) -> str | None:
    """Who has the root now, or None; takes nothing and writes nothing."""
    try:
        fd = os.open(_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=state.fd)
    except FileNotFoundError:
        return None
    try:
        return _keeper(fd, fcntl.LOCK_SH, holder, clock)
    finally:
        os.close(fd)


def refused(root: str, keeper: str) -> Problem:
    """What to raise where ``keeper`` has the root."""
    return Problem(f"Another reset of {root} is under way: {keeper}. Wait for it. Nothing was touched.")


def release(state: Directory) -> None:
    """Give up the lease; the caller holds the lock."""
    fd = os.open(_FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=state.fd)
    try:
        os.truncate(fd, 0)
    finally:
        os.close(fd)


def _keeper(fd: int, how: int, holder: dict[str, Any], clock: Callable[[], float]) -> str | None:
    """Lock the open file, or say who keeps ``holder`` out."""
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return _who(_read(fd))
    return judge(_read(fd), holder, clock())  # read under the lock: it cannot change any more


def _who(lease: dict[str, Any] | None) -> str:
    if not lease:
        return "a run that has just begun"
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(lease["since"]))
    holder = lease["holder"]
    return f"{holder['user']} on {holder['controller']}, pid {holder['pid']}, since {since}"


def _read(fd: int) -> dict[str, Any] | None:
    try:
        lease = json.loads(os.pread(fd, 65536, 0))
    except ValueError:
        return None  # released, or cut by a crash: nobody's
    return lease if isinstance(lease, dict) else None


def _touch(fd: int, holder: dict[str, Any], now: float) -> None:
    known = _read(fd)
    mine = known is not None and known["holder"]["process"] == holder["process"]
    since = known["since"] if mine and known else now
    named = {key: holder[key] for key in ("controller", "user", "pid", "process")}
    text = json.dumps({"holder": named, "since": since, "touched": now}).encode()
    os.pwrite(fd, text, 0)
    os.truncate(fd, len(text))
