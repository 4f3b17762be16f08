"""A project root, opened for a call: the guards have passed, and no other run has it."""

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
    """A root that passed the guards, held open."""

    folder: Directory
    facts: Facts
    quarantine: Quarantine | None  # None until something is moved here for the first time
    _stack: contextlib.ExitStack

    def changing(self) -> Quarantine:
        """The quarantine, complete and signed for; made and locked if the root never had one."""
        if self.quarantine is None:
            made = self._stack.enter_context(Quarantine.make(self.folder))
            self._stack.enter_context(lock.held(made.state))
            if made.runs():
                raise Problem(
                    f"Another reset of {self.folder.path} came first, after this one had looked. Run it again."
                    " Nothing was touched."
                )
            self.quarantine = made
        self.quarantine.prepare()
        lock.sign(self.quarantine.state)
        return self.quarantine


@contextlib.contextmanager
def opened(params: dict[str, Any], check_mode: bool) -> Iterator[OpenRoot]:
    """Open the root of a module's parameters, and unless in check mode hold its lock.

    Every guard that needs no plan has passed then. An error of the file system becomes a Problem.
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
    errno.EACCES: "its owner or root must do this (ansible_user, become)",
    errno.EPERM: "its owner or root must do this (ansible_user, become), or it is marked immutable",
    errno.EROFS: "the file system is read-only; remount it",
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota is used up; make room",
    errno.ELOOP: "a link stands where a folder was; find out who put it there",
    errno.ENOTDIR: "something else stands where a folder was; find out who put it there",
}


@contextlib.contextmanager
def reported(path: str) -> Iterator[None]:
    """Tell what the file system refused, and what to do."""
    try:
        yield
    except OSError as error:
        where = os.path.join(path, os.fsdecode(error.filename2 or error.filename or ""))
        advice = _ADVICE.get(error.errno or 0, "see the system's log")
        raise Problem(
            f"{where}: {error.strerror}: {advice}. Nothing is lost: what had been moved is in {path}/{STATE},"
            " and the next reset goes on from there."
        ) from error
