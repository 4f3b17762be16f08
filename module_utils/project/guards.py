"""Checks that must pass before anything in a project root is touched, and the facts that they need."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Callable, NamedTuple

from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

STATE = ".reset"  # the private folder in the root: lock, quarantine, builds
VENV = "venv"
DOTENV = ".env"

# No project lies in these, or anywhere below them.
_SYSTEM_TREES = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys")
# A project may lie below these, but is never one of them.
_SYSTEM_FOLDERS = (
    "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/usr/bin", "/usr/lib",
    "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/sbin", "/usr/share", "/usr/src", "/var", "/var/lib",
    "/var/log", "/var/tmp", "/Users", "/Applications", "/Library", "/System",
)  # fmt: skip
# ruff: noqa: S108 - listed to be refused


class Facts(NamedTuple):
    """What the guards need to know about the machine."""

    homes: Mapping[str, str] = {}  # accounts by their home directory
    mounts: Sequence[str] = ()
    # Yields name, pid and used paths of each.
    processes: Callable[[], Iterable[tuple[str, int, Sequence[str]]]] = tuple
    uid: int = 0  # the user of this run
    free_bytes: int = 1 << 62  # on the root's file system, for this user
    noexec: bool = False  # whether that file system refuses to run programs


def facts(path: str) -> Facts:
    """Return the facts that the guards need for a root at ``path``."""
    found = Facts(homes(), mounts(), processes, os.geteuid())
    if not os.path.isdir(path):
        return found
    space = os.statvfs(path)
    free, noexec = space.f_bavail * space.f_frsize, bool(space.f_flag & os.ST_NOEXEC)
    return found._replace(free_bytes=free, noexec=noexec)


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


def processes() -> Iterator[tuple[str, int, list[str]]]:
    """Yield name, pid and used paths of every process that this user may inspect, but not of this one."""
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
        if int(pid) != os.getpid():
            with contextlib.suppress(OSError):  # it has ended, or belongs to another user
                yield _process(pid)


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


def below(path: str, folder: str) -> bool:
    """Return whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder + "/")


def check_path(path: str, homes: Mapping[str, str]) -> None:
    """Raise Problem if the path cannot be that of a project."""
    plain = os.path.normpath("/" + path.lstrip("/"))
    faults = {
        "is empty": not path.strip(),
        "is relative, but must be absolute": not os.path.isabs(path),
        "is the root of the file system": plain == "/",
        "is a system directory": plain in _SYSTEM_FOLDERS
        or any(below(plain, tree) for tree in _SYSTEM_TREES),
        "contains a $, which Ansible expands": "$" in path,
        f"is not a plain path (it reads as {plain})": plain != path.rstrip("/"),
        f"is the home directory of {homes.get(plain)}": plain in homes,
    }
    fault = next((fault for fault, found in faults.items() if found), None)
    if fault:
        raise Problem(
            f"project_root {path!r} {fault}. Nothing was touched. Set project_root to the project's folder."
        )


def open_root(path: str, facts: Facts) -> Directory:
    """Check the path and owner of a root, and open it; raises Problem."""
    check_path(path, facts.homes)
    path = path.rstrip("/")
    if os.path.islink(path):
        raise Problem(
            f"project_root {path} is a link to {os.readlink(path)}. Set project_root to the folder itself."
        )
    try:
        root = Directory.open(path)
    except OSError as error:
        raise Problem(
            f"project_root {path} cannot be opened as a folder ({error.strerror}). Check project_root and its owner."
        ) from error
    # A parent folder may be a link, so the real path is checked as well.
    real = os.path.realpath(path)
    if real != path:
        check_path(real, facts.homes)
    owner = os.fstat(root.fd).st_uid
    if facts.uid not in (0, owner):
        raise Problem(
            f"project_root {path} belongs to user id {owner}, and this run is user id {facts.uid}."
            " Connect as its owner (ansible_user), or become root."
        )
    return root


def check_names(artifacts: Sequence[str], protected: Sequence[str]) -> None:
    """Raise Problem if an artifact is not a plain name in the root, or is or contains something protected."""
    kept = {os.path.normpath(path).split("/")[0]: path for path in protected}
    for path in protected:
        outside = os.path.isabs(path) or ".." in path.split("/")
        if outside or not path.strip() or os.path.normpath(path) == ".":
            raise Problem(
                f"project_protected holds {path!r}. Use relative paths inside project_root. Nothing was touched."
            )
    for name in artifacts:
        faults = {
            "is empty": not name.strip(),
            "is an absolute path": os.path.isabs(name),
            "is not a name in the root": name in (".", ".."),
            "contains a slash, but must be a name in the root": "/" in name or "\0" in name,
            "looks like a pattern, but must be an exact name": bool(set(name) & set("*?[]{}")),
            "is never an artifact": name in (STATE, DOTENV, ".git"),
            f"is or contains {kept.get(name)!r} of project_protected": name in kept,
        }
        fault = next((fault for fault, found in faults.items() if found), None)
        if fault:
            raise Problem(f"project_artifacts holds {name!r}, which {fault}. Nothing was touched.")


def check_protected(root: Directory, protected: Sequence[str]) -> None:
    """Raise Problem if a protected path is missing; the folder is then probably not the project."""
    missing = [path for path in protected if not os.path.lexists(os.path.join(root.path, path))]
    if missing:
        raise Problem(
            f"{root.path} has no {', '.join(missing)}, so it does not look like the project."
            " Check project_root and project_protected. Nothing was touched."
        )


def check_file_systems(root: Directory, names: Sequence[str], mounts: Sequence[str]) -> None:
    """Raise Problem if something is mounted inside an artifact, because it would move with it."""
    device = os.fstat(root.fd).st_dev
    base = os.path.realpath(root.path)
    for name in names:
        found = root.stat(name)
        if found is None or not stat.S_ISDIR(found.st_mode):
            continue
        artifact = os.path.join(base, name)
        mounted = [point for point in mounts if below(point, artifact)]
        if found.st_dev != device:
            mounted.append(artifact)
        else:
            mounted += [path for path, entry in root.walk(name) if entry.st_dev != device]
        if mounted:
            raise Problem(f"{mounted[0]} is a mount point inside the artifact {name!r}. Unmount it first.")


def check_in_use(root: Directory, names: Sequence[str], facts: Facts, allow: bool) -> list[str]:
    """Raise Problem if a process uses one of the names; if ``allow`` is set, return warnings instead."""
    bases = [os.path.join(base, name) for base in {root.path, os.path.realpath(root.path)} for name in names]
    used = []
    for process, pid, paths in facts.processes() if bases else ():
        path = next((path for path in paths if any(below(path, base) for base in bases)), None)
        if path:
            used.append(f"{process} (pid {pid}) uses {path}")
    if used and not allow:
        raise Problem(
            f"Processes still use what the reset would move: {'; '.join(used)}."
            " Stop them, or pass -e project_allow_in_use=true. Nothing was touched."
        )
    return [f"{use}. The reset continues because project_allow_in_use is set." for use in used]


def check_space(root: Directory, needed: int, facts: Facts) -> None:
    """Raise Problem if an environment cannot be built on the file system."""
    if facts.noexec:
        raise Problem(
            f"The file system of {root.path} is mounted with noexec, so no environment can run there. Remount it with"
            " exec, or move the project and set project_root. Nothing was touched."
        )
    free = facts.free_bytes
    if free < needed:
        raise Problem(
            f"{root.path} has {free >> 20} MiB free, but a build needs {needed >> 20} MiB (project_space_mb)."
            " Free some space on that file system. Nothing was touched."
        )


def check_state(root: Directory) -> None:
    """Raise Problem if the private folder is something else than a folder of this project."""
    found = root.stat(STATE)
    if found is None:
        return
    own = os.fstat(root.fd)
    foreign = found.st_uid not in (0, own.st_uid) or found.st_dev != own.st_dev
    if foreign or not stat.S_ISDIR(found.st_mode):
        raise Problem(
            f"{root.path}/{STATE} is not a private folder of this project (a link, another file system or"
            " another owner). Look at it and move it away. Nothing was touched."
        )
