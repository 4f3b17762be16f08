"""What must hold before anything in a project root is touched. Decisions only; the facts are passed in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

STATE = ".reset"  # the private folder in the root: lock, quarantine, builds
VENV = "venv"
DOTENV = ".env"

# Nobody keeps a project in these, whatever is below them.
_SYSTEM_TREES = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys")
# Projects are kept below these, never in them.
_SYSTEM_FOLDERS = (
    "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/usr/bin", "/usr/lib",
    "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/sbin", "/usr/share", "/usr/src", "/var", "/var/lib",
    "/var/log", "/var/tmp", "/Users", "/Applications", "/Library", "/System",
)  # fmt: skip
# ruff: noqa: S108 - named to be refused


@dataclass(frozen=True)
class Facts:
    """What the machine says of a root; ``machine`` gathers it."""

    homes: dict[str, str] = field(default_factory=dict)  # accounts by their home directory
    mounts: Sequence[str] = ()
    processes: Iterable[tuple[str, int, Sequence[str]]] = ()  # name, pid and the paths that each uses
    uid: int = 0  # who asks
    free_bytes: int = 1 << 62  # for this user, on the root's file system


def below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder + "/")


def check_path(path: str, homes: dict[str, str]) -> None:
    """Refuse a root that cannot be a project's; raises Problem."""
    plain = os.path.normpath("/" + path.lstrip("/"))
    faults = {
        "is empty": not path.strip(),
        "is relative; an absolute path is needed": not os.path.isabs(path),
        "is the root of the file system": plain == "/",
        "is a system directory": plain in _SYSTEM_FOLDERS
        or any(below(plain, tree) for tree in _SYSTEM_TREES),
        f"is not a plain path (it reads as {plain})": plain != path.rstrip("/"),
        f"is the home directory of {homes.get(plain)}": plain in homes,
    }
    fault = next((fault for fault, found in faults.items() if found), None)
    if fault:
        raise Problem(
            f"project_root {path!r} {fault}. Nothing was touched. Set project_root to the project's folder."
        )


def open_root(path: str, facts: Facts) -> Directory:
    """Check a root and open it; raises Problem."""
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
    # The path may lead through links of parent folders; what it reaches is judged as well.
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
    """Refuse an artifact that is no plain name in the root, or that is or holds something protected."""
    kept = {os.path.normpath(path).split("/")[0]: path for path in protected}
    for path in protected:
        outside = os.path.isabs(path) or ".." in path.split("/")
        if outside or not path.strip() or os.path.normpath(path) == ".":
            raise Problem(f"project_protected holds {path!r}: paths inside project_root are needed.")
    for name in artifacts:
        faults = {
            "is empty": not name.strip(),
            "is an absolute path": os.path.isabs(name),
            "leads out of the name itself": name in (".", ".."),
            "holds a slash; only names in the root itself are taken": "/" in name or "\0" in name,
            "looks like a pattern; artifacts are exact names": bool(set(name) & set("*?[]{}")),
            "is never an artifact": name in (STATE, DOTENV, ".git"),
            f"is or contains {kept.get(name)!r} of project_protected": name in kept,
        }
        fault = next((fault for fault, found in faults.items() if found), None)
        if fault:
            raise Problem(f"project_artifacts holds {name!r}, which {fault}. Nothing was touched.")


def check_protected(root: Directory, protected: Sequence[str]) -> None:
    """The protected paths must be there: this is how a project's root is told from any other folder."""
    missing = [path for path in protected if not os.path.lexists(os.path.join(root.path, path))]
    if missing:
        raise Problem(
            f"{root.path} has no {', '.join(missing)}: this does not look like the project."
            " Check project_root, or fix project_protected. Nothing was touched."
        )


def check_file_systems(root: Directory, names: Sequence[str], mounts: Sequence[str]) -> None:
    """A mount inside an artifact would be moved or emptied with it."""
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
    """Refuse to move what a process runs out of, unless allowed; then the uses are returned as warnings."""
    bases = [os.path.join(base, name) for base in {root.path, os.path.realpath(root.path)} for name in names]
    used = []
    for process, pid, paths in facts.processes if bases else ():
        path = next((path for path in paths if any(below(path, base) for base in bases)), None)
        if path:
            used.append(f"{process} (pid {pid}) uses {path}")
    if used and not allow:
        raise Problem(
            f"Still running from what a reset moves: {'; '.join(used)}."
            " Stop it, or pass -e project_allow_in_use=true. Nothing was touched."
        )
    return [f"{use}; project_allow_in_use lets the reset go on." for use in used]


def check_space(root: Directory, needed: int, free: int) -> None:
    """A build that fills the disk helps nobody."""
    if free < needed:
        raise Problem(
            f"{root.path} has {free >> 20} MiB free, a build needs {needed >> 20} MiB (project_space_mb)."
            " Make room on that file system. Nothing was touched."
        )


def check_state(root: Directory) -> None:
    """The private folder must be a folder of ours, not something that somebody put in its place."""
    found = root.stat(STATE)
    if found is None:
        return
    own = os.fstat(root.fd)
    foreign = found.st_uid not in (0, own.st_uid) or found.st_dev != own.st_dev
    if foreign or not stat.S_ISDIR(found.st_mode):
        raise Problem(
            f"{root.path}/{STATE} is not a private folder of this project (a link, another file system or"
            " another owner). Look at it and move it away."
        )
