"""Read the machine's accounts, mounts, processes and free space."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import replace

from ansible.module_utils.project.guards import Facts


def facts(path: str) -> Facts:
    """Return the facts that the guards need for a root at ``path``."""
    found = Facts(homes(), mounts(), Processes(), os.geteuid())
    if not os.path.isdir(path):
        return found
    space = os.statvfs(path)
    free, noexec = space.f_bavail * space.f_frsize, bool(space.f_flag & os.ST_NOEXEC)
    return replace(found, free_bytes=free, noexec=noexec)


def homes() -> dict[str, str]:
    """Return the account of each home directory, that of this process included."""
    found = {os.path.normpath(entry.pw_dir): entry.pw_name for entry in pwd.getpwall() if entry.pw_dir}
    if os.environ.get("HOME"):
        found.setdefault(os.path.normpath(os.environ["HOME"]), "this user")
    return found


def mounts() -> list[str]:
    """Return the mount points from /proc, with bind mounts, which a device number does not show."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return [re.sub(r"\\([0-7]{3})", _octal, line.split()[4]) for line in file]
    except OSError:
        return []


def _octal(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))  # how the kernel writes a space, tab, line break or backslash


class Processes:
    """Name, pid and used paths of every process that this user may inspect, but not of this one."""

    def __iter__(self) -> Iterator[tuple[str, int, list[str]]]:
        """Read the processes anew."""
        for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
            if int(pid) != os.getpid():
                try:
                    yield _process(pid)
                except OSError:
                    continue  # it has ended, or belongs to another user


def _process(pid: str) -> tuple[str, int, list[str]]:
    cwd = os.readlink(f"/proc/{pid}/cwd")
    paths = [os.readlink(f"/proc/{pid}/exe"), cwd]
    # A venv's python is a link, so only the command line shows under which name it was started.
    words = _read(pid, "cmdline").split("\0")[:2]
    paths += [os.path.normpath(os.path.join(cwd, word)) for word in words if "/" in word]
    paths += {line.split(None, 5)[5] for line in _read(pid, "maps").split("\n") if "/" in line}
    return _read(pid, "comm").strip(), int(pid), paths


def _read(pid: str, what: str) -> str:
    with open(f"/proc/{pid}/{what}", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
