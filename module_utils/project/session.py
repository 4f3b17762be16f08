"""What the stages have in common: the arguments, the guards, the lock and the run."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.project import guards, lock, machine
from ansible.module_utils.project.guards import STATE, Facts
from ansible.module_utils.project.quarantine import Quarantine
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem


@dataclass
class Session:
    """A root that passed the guards, held open."""

    root: Directory
    facts: Facts
    holder: dict[str, Any]

    @contextlib.contextmanager
    def changing(self) -> Iterator[Quarantine]:
        """The quarantine, under the lock; an error of the file system becomes a Problem."""
        with reported(self.root.path):
            quarantine = Quarantine.open(self.root, create=True)
            assert quarantine is not None
            with quarantine, lock.held(quarantine.state, self.holder):
                yield quarantine

    @contextlib.contextmanager
    def looking(self) -> Iterator[Quarantine | None]:
        """The quarantine for reading, None where there is none yet."""
        quarantine = Quarantine.open(self.root, create=False)
        if quarantine is None:
            yield None
            return
        with quarantine:
            yield quarantine

    def unfinished(self) -> bool:
        """Whether a run is open: this one's, or one that was cut off. ``verify`` closes it."""
        with self.looking() as quarantine:
            return quarantine is not None and quarantine.unfinished()

    def check_lock(self) -> None:
        """Stop where another run has the root; writes nothing."""
        with self.looking() as quarantine:
            keeper = lock.keeper(quarantine.state, self.holder) if quarantine else None
        if keeper:
            raise lock.refused(self.root.path, keeper)


@contextlib.contextmanager
def opened(params: dict[str, Any]) -> Iterator[Session]:
    """Open the root of a module's parameters; every guard that needs no plan has passed then."""
    artifacts = params.get("artifacts") or []
    guards.check_names(artifacts, params["protected"])
    facts = machine.facts(params["root"])
    with reported(params["root"]), guards.open_root(params["root"], facts) as root:
        guards.check_protected(root, params["protected"])
        guards.check_state(root)
        yield Session(root, facts, params["holder"])


_ADVICE = {
    errno.EACCES: "its owner or root must do this (ansible_user, become)",
    errno.EPERM: "its owner or root must do this (ansible_user, become), or it is marked immutable",
    errno.EROFS: "the file system is read-only; remount it",
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota is used up; make room",
    errno.ELOOP: "a link stands where a folder was; look who put it there",
    errno.ENOTDIR: "something else stands where a folder was; look who put it there",
}


@contextlib.contextmanager
def reported(path: str) -> Iterator[None]:
    """Tell what the file system refused, and what to do."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename or ""
        where = os.path.join(path, os.fsdecode(name)) if isinstance(name, (str, bytes)) else path
        advice = _ADVICE.get(error.errno or 0, "see the system's log")
        raise Problem(
            f"{where}: {error.strerror}: {advice}. Nothing is lost: what had been moved is in {path}/{STATE},"
            " and the next reset goes on from there."
        ) from error
