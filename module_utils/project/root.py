"""File operations in open directories, and programs that run as their owner.

Every name is relative to a directory that stays open, and links are never followed. If somebody replaces a folder by
a link after a check, the operation still happens in the directory that was checked.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.text import plural, size

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOREPLACE, _EXCHANGE = 1, 2  # flags of renameat2(2)
# Runs a program; see ``Owner.run``.
Execute = Callable[..., tuple[int, str, str]]
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


@dataclass(frozen=True)
class Item:
    """A file, folder or link."""

    kind: str  # ``file``, ``directory``, ``link`` or ``other``
    mode: int
    identity: tuple[int, int]  # device and inode, which a rename keeps
    files: int = 0  # regular files in it; 1 for a file
    bytes: int = 0  # their total size
    target: str | None = None  # of a link


class Directory:
    """An open directory; use it as a context manager."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path  # for messages and for programs that need a path; operations here use ``fd``

    @classmethod
    def open(cls, path: str) -> Directory:
        """Open ``path``; OSError (ELOOP, ENOTDIR) if it is a link or not a directory."""
        return cls(os.open(path, _DIRECTORY), path)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def enter(self, name: str) -> Directory:
        """Open a directory inside this one."""
        return Directory(os.open(name, _DIRECTORY, dir_fd=self.fd), os.path.join(self.path, name))

    def make(self, name: str) -> Directory:
        """Open a directory inside this one; create it if it is missing, for the owner of this one."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self.fd)
        made = self.enter(name)
        self.give(made.fd)
        return made

    def give(self, fd: int) -> None:
        """Give ``fd`` to the owner of this directory, if this is root."""
        if os.geteuid() == 0:
            owner = os.fstat(self.fd)
            os.fchown(fd, owner.st_uid, owner.st_gid)

    def names(self) -> list[str]:
        """The names in this directory, sorted."""
        return sorted(os.listdir(self.fd))

    def stat(self, name: str) -> os.stat_result | None:
        """Return ``lstat`` of a name, or None if it does not exist (a dangling link exists)."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def identity(self, name: str) -> tuple[int, int] | None:
        """Return device and inode of a name, or None if it does not exist."""
        found = self.stat(name)
        return (found.st_dev, found.st_ino) if found else None

    def item(self, name: str) -> Item | None:
        """Describe what ``name`` is, with the size of everything in it; None if it does not exist."""
        found = self.stat(name)
        if found is None:
            return None
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "other")
        target = os.readlink(name, dir_fd=self.fd) if kind == "link" else None
        inside = [entry for _, entry in self.walk(name)] if kind == "directory" else [found]
        sizes = [entry.st_size for entry in inside if stat.S_ISREG(entry.st_mode)]
        identity = (found.st_dev, found.st_ino)
        return Item(kind, stat.S_IMODE(found.st_mode), identity, len(sizes), sum(sizes), target)

    def walk(self, name: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield path (relative to this directory) and ``lstat`` of everything below the directory ``name``."""
        for folder, folders, files, fd in os.fwalk(name, dir_fd=self.fd, follow_symlinks=False):
            for entry in folders + files:
                yield os.path.join(folder, entry), os.stat(entry, dir_fd=fd, follow_symlinks=False)

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a regular file, or None if it is missing; OSError (ELOOP) if it is a link."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", name)
            return file.read()

    def write_new(self, name: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file that must not exist yet, and wait until it is on the disk."""
        fd = os.open(name, NEW, mode, dir_fd=self.fd)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            self.give(fd)
            file.write(content)
            file.flush()
            os.fsync(fd)

    def write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        """Replace the file ``name`` atomically: readers see the old file or the new one."""
        staged = f"{name}.new"
        self.remove(staged)
        self.write_new(staged, content, mode)
        os.rename(staged, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        self.sync()

    def sync(self) -> None:
        """Wait until the names in this directory are on the disk."""
        os.fsync(self.fd)

    def move(self, name: str, to: Directory, new_name: str | None = None) -> None:
        """Move ``name`` into ``to``; FileExistsError if the name exists there."""
        new_name = new_name or name
        if not _renameat2(self, name, to, new_name, _NOREPLACE):
            if to.stat(new_name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
            os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=to.fd)

    def exchange(self, name: str, other: Directory, other_name: str) -> bool:
        """Exchange two names atomically; False if the file system cannot (NFS, some FUSE)."""
        return _renameat2(self, name, other, other_name, _EXCHANGE)

    def remove(self, name: str) -> None:
        """Remove a name with everything below it; OSError (EXDEV) if another file system is mounted there."""
        found = self.stat(name)
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=self.fd)
            return
        if found.st_dev != os.fstat(self.fd).st_dev:
            raise OSError(errno.EXDEV, "another file system is mounted there", os.path.join(self.path, name))
        if ~found.st_mode & stat.S_IRWXU:  # its owner could not open or empty it
            fd = os.open(name, _DIRECTORY | os.O_PATH, dir_fd=self.fd)  # needs no right on the folder
            try:
                os.chmod(f"/proc/self/fd/{fd}", 0o700)
            finally:
                os.close(fd)
        with self.enter(name) as folder:
            for entry in folder.names():
                folder.remove(entry)
        os.rmdir(name, dir_fd=self.fd)


def _renameat2(source: Directory, name: str, target: Directory, new_name: str, flags: int) -> bool:
    """Call renameat2(2); False if the system or the file system does not support the flag."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(source.fd, os.fsencode(name), target.fd, os.fsencode(new_name), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), name, None, new_name)


def listed(item: Item) -> dict[str, Any]:
    """Return an item as a module's result holds it."""
    return {"kind": item.kind, "files": item.files, "bytes": item.bytes, "target": item.target}


def described(item: Item) -> str:
    """Return an item as text: ``directory, 12 files, 3.4 MiB``."""
    if item.kind == "link":
        return f"link to {item.target}"
    if item.kind == "directory":
        return f"directory, {plural(item.files, 'file')}, {size(item.bytes)}"
    return f"{item.kind}, {size(item.bytes)}"


class Owner:
    """The user who owns a root. Programs run as this user, so that root runs no foreign code."""

    def __init__(self, root: Directory) -> None:
        found = os.fstat(root.fd)
        self.uid, self.gid = found.st_uid, found.st_gid
        try:
            self.home = pwd.getpwuid(self.uid).pw_dir
        except KeyError:
            self.home = "/"
        if self.uid == os.geteuid():
            self.home = os.environ.get("HOME", self.home)
        self._cwd = root.path
        # For caches. Service accounts often have none.
        self._has_home = os.path.isdir(self.home) and os.stat(self.home).st_uid == self.uid

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        text: str = "",
        seconds: float = 60.0,
    ) -> tuple[int, str, str]:
        """Run a program; return its exit code, standard output and standard error.

        ``env`` changes the environment; None unsets a variable. ``text`` is the program's input. The exit code is
        127 if it cannot be started, and 124 if it is killed after ``seconds``.
        """
        become: dict[str, Any] = {}
        if os.geteuid() == 0 and self.uid != 0:
            become = {"user": self.uid, "group": self.gid, "extra_groups": []}
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))
        }
        changed = {**inherited, **(env or {}), "HOME": self.home}
        if not self._has_home:
            changed.update(UV_NO_CACHE="1", PIP_NO_CACHE_DIR="1")
        environ = {key: value for key, value in changed.items() if value is not None}
        try:
            done = subprocess.run(
                argv, env=environ, input=text, capture_output=True, text=True, errors="replace", timeout=seconds,
                check=False, cwd=self._cwd, **become,
            )  # fmt: skip
        except OSError as error:
            return 127, "", f"{argv[0]}: {error.strerror}"
        except subprocess.TimeoutExpired:
            return 124, "", f"{os.path.basename(argv[0])} took longer than {seconds:.0f} s"
        return done.returncode, done.stdout, done.stderr
