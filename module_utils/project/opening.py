"""Open a project root for a call: check the guards and take the lock."""

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
            self._stack.enter_context(lock.held(made.state))
            if made.runs():
                raise Problem(
                    f"Another reset of {self.folder.path} ran after this one was planned. Run this one again."
                    " Nothing was touched."
                )
            self.quarantine = made
        self.quarantine.prepare()
        lock.sign(self.quarantine.state)
        return self.quarantine


@contextlib.contextmanager
def opened(params: dict[str, Any], check_mode: bool) -> Iterator[OpenRoot]:
    """Check the guards that need no plan, open the root, and hold its lock unless in check mode.

    An OSError in the block becomes a Problem.
    """
    guards.check_names(params.get("artifacts") or [], params["protected"])
    facts = machine.facts(params["root"])
    with contextlib.ExitStack() as stack:
        stack.enter_context(reported(params["root"]))
        folder = stack.enter_context(guards.open_root(params["root"], facts))
        guards.check_protected(folder, params["protected"])
        guards.check_state(folder)
        quarantine = Quarantine.find(folder)
        if quarantine is not None:
            stack.enter_context(quarantine)
            if check_mode:
                lock.check(quarantine.state)
            else:
                stack.enter_context(lock.held(quarantine.state))
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
