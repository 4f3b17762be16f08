"""Record runs, keep what they move out of the root, and bring it back.

A run is a folder ``.reset/runs/<run>`` with a manifest and ``kept/``, which holds the old files and folders under
their names in the root. ``displace`` makes every change of the root: it writes the manifest first, and then does one
atomic rename or exchange between the root and ``kept/`` for each name. A restore is a run, too: it puts the old
things of another run back, and can be undone in the same way.

A killed run leaves its manifest open. ``settle`` compares inodes to find out which changes were made, and takes back
what was only prepared. It never guesses from names or times.
"""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible.module_utils.project.guards import STATE
from ansible.module_utils.project.root import Directory, Item
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural, size

RUNS, KEPT, BUILD = "runs", "kept", "build"
VERSION = 1  # of the manifests that this code writes; it cannot read newer ones
_MANIFEST = "manifest.json"
_WAITING = ".waiting"  # suffix of a name in ``kept/``, if the file system has no exchange


@dataclass
class Entry:
    """What a run did to one name in the root."""

    name: str
    before: Item | None  # the old thing, now in ``kept/``; None if there was nothing
    after: tuple[int, int] | None = None  # identity of the new thing; None if there is none
    source: str | None = None  # for a restore: the run whose ``kept/`` had the new thing


@dataclass
class Manifest:
    """The record of a run."""

    name: str  # its start in UTC, such as ``20261123T041500Z``; a second run in the same second gets a number
    kind: str  # ``reset`` or ``restore``
    started: float  # seconds since the epoch
    state: str = "open"  # ``closed`` after its end
    entries: list[Entry] = field(default_factory=list)  # its changes, in order
    by: dict[str, Any] = field(default_factory=dict)  # user and pid

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a name."""
        return next((entry for entry in self.entries if entry.name == name), None)


def _entry(name: str, before: dict[str, Any] | None, after: list[int] | None, source: str | None) -> Entry:
    # JSON has no tuples.
    item = Item(**{**before, "identity": tuple(before["identity"])}) if before else None
    return Entry(name, item, (after[0], after[1]) if after else None, source)


def me() -> dict[str, Any]:
    """Return ``user`` (the login behind sudo, if there is one) and ``pid`` of this process."""
    try:
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return {"user": user, "pid": os.getpid()}


def totals(runs: Sequence[Manifest]) -> dict[str, Any]:
    """Return how much these runs keep: regular files, their bytes, and both as text."""
    items = [entry.before for run in runs for entry in run.entries if entry.before]
    files, count = sum(item.files for item in items), sum(item.bytes for item in items)
    return {"files": files, "bytes": count, "text": f"{plural(files, 'file')}, {size(count)}"}


@dataclass
class Quarantine:
    """The private folder of a root, opened."""

    root: Directory
    state: Directory

    @classmethod
    def find(cls, root: Directory) -> Quarantine | None:
        """Open ``.reset``; None if nothing was ever moved. Writes nothing."""
        return cls(root, root.enter(STATE)) if root.stat(STATE) is not None else None

    @classmethod
    def make(cls, root: Directory) -> Quarantine:
        """Open ``.reset``; create it if it is missing."""
        return cls(root, root.make(STATE))

    def prepare(self) -> None:
        """Create what is missing in ``.reset``, and give it to the owner of the root."""
        self.root.give(self.state.fd)
        if self.state.stat(".gitignore") is None:
            self.state.write_new(".gitignore", b"*\n", 0o600)
        for name in (RUNS, BUILD):
            self.state.make(name).__exit__()

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self.state.__exit__()

    # Reading

    def runs(self) -> list[Manifest]:
        """Return all runs, oldest first. A folder without a manifest is not a run, because it moved nothing."""
        if self.state.stat(RUNS) is None:
            return []
        found = []
        with self.state.enter(RUNS) as runs:
            for name in runs.names():
                with runs.enter(name) as folder:
                    text = folder.read(_MANIFEST)
                if text is not None:
                    found.append(self._parsed(name, text))
        return sorted(found, key=lambda run: (run.started, run.name))

    def open_runs(self) -> list[Manifest]:
        """Return the runs that were not closed: one may be running, others were killed."""
        return [run for run in self.runs() if run.state == "open"]

    def _parsed(self, name: str, text: bytes) -> Manifest:
        path = os.path.join(self.state.path, RUNS, name, _MANIFEST)
        try:
            data = json.loads(text)
            version = data.pop("version")
            if version > VERSION:
                raise Problem(
                    f"{path} was written by a newer release of this project: its version is {version}, but this release"
                    f" reads at most version {VERSION}. Use the newer release for this host. Nothing was touched."
                )
            return Manifest(**{**data, "entries": [_entry(**entry) for entry in data["entries"]]})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Problem(
                f"{path} is damaged. The old files are in kept/ next to it. Move the folder of the run out of {RUNS}/."
            ) from error

    def kept(self, run: Manifest) -> list[Entry]:
        """Return the entries that a restore of ``run`` would bring back."""
        with self.keeping(run.name) as kept:
            return [entry for entry in run.entries if self._remains(entry, kept)]

    def _remains(self, entry: Entry, kept: Directory) -> bool:
        if entry.before is None:
            return self.root.stat(entry.name) is not None  # the new thing, or what replaced it since
        return kept.identity(entry.name) == entry.before.identity

    def keeping(self, run: str) -> Directory:
        """Open the folder ``kept/`` of a run, by the run's name."""
        with self.state.enter(RUNS) as runs, runs.enter(run) as folder:
            return folder.enter(KEPT)

    # Changing; the caller holds the lock

    def begin(self, kind: str) -> Manifest:
        """Return the open run of this kind, settled, or a new one; close the other open runs."""
        with self.state.enter(BUILD) as build:
            for name in build.names():
                build.remove(name)  # unfinished builds and deletions
        current = None
        for run in self.open_runs():
            self.settle(run)
            if run.kind == kind and current is None:
                current = run
            else:
                self.close(run)
        return current or self._new(kind)

    def _new(self, kind: str) -> Manifest:
        # Later than all runs, even if the clock was ahead when they began.
        now = max([time.time(), *(run.started + 0.001 for run in self.runs())])
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        with self.state.enter(RUNS) as runs:
            name, number = stamp, 1
            while runs.stat(name) is not None:
                number += 1
                name = f"{stamp}-{number}"
            with runs.make(name) as folder:
                folder.make(KEPT).__exit__()
        run = Manifest(name, kind, now, by=me())
        self._save(run)
        return run

    def _save(self, run: Manifest) -> None:
        content = json.dumps({**asdict(run), "version": VERSION}, indent=1).encode() + b"\n"
        with self.state.enter(RUNS) as runs, runs.enter(run.name) as folder:
            folder.write(_MANIFEST, content)

    def displace(
        self, run: Manifest, names: Sequence[str], put: Directory | None = None, source: str | None = None
    ) -> Manifest:
        """Move ``names`` from the root into the run, and the things of ``put`` with these names into the root.

        ``source`` is the run that ``put`` belongs to, if any. The manifest is on the disk before anything moves.
        Returns the run that was used: a new one, if this one already holds one of the names.
        """
        if any(run.entry(name) for name in names):
            self.close(run)
            run = self._new(run.kind)
        for name in names:
            after = put.identity(name) if put else None
            run.entries.append(Entry(name, self.root.item(name), after, source))
        self._save(run)
        try:
            with self.keeping(run.name) as kept:
                for entry in run.entries[-len(names) :]:
                    if put is not None and entry.after is not None:
                        put.move(entry.name, kept)
                    self._swap(entry, kept)
                kept.sync()
            self.root.sync()
        except OSError:
            self.settle(run)
            raise
        return run

    def _swap(self, entry: Entry, kept: Directory) -> None:
        name = entry.name
        if entry.before is None:
            kept.move(name, self.root)
        elif entry.after is None:
            self.root.move(name, kept)
        elif not kept.exchange(name, self.root, name):
            # This file system has no atomic exchange, so the new thing gets another name first.
            kept.move(name, kept, name + _WAITING)
            self.root.move(name, kept)
            kept.move(name + _WAITING, self.root, name)

    def settle(self, run: Manifest) -> None:
        """Remove from a killed run the entries whose change was not made, and clean up behind them."""
        with self.keeping(run.name) as kept:
            done = [entry for entry in run.entries if self._settled(entry, kept)]
        if len(done) != len(run.entries):
            run.entries = done
            self._save(run)

    def _settled(self, entry: Entry, kept: Directory) -> bool:
        waiting = entry.name + _WAITING
        if entry.after and kept.identity(waiting) == entry.after:
            if self.root.stat(entry.name) is None:
                kept.move(waiting, self.root, entry.name)
                return True
            kept.move(waiting, kept, entry.name)
        if entry.before is not None and kept.identity(entry.name) == entry.before.identity:
            return True
        if entry.before is None and self.root.identity(entry.name) == entry.after:
            return True
        if entry.after and kept.identity(entry.name) == entry.after:
            if entry.source is None:
                kept.remove(entry.name)  # built by the killed run and not in use
            else:
                with self.keeping(entry.source) as home:
                    kept.move(entry.name, home)
        return False

    def close(self, run: Manifest) -> None:
        """Mark a run as closed; delete it if it moved nothing."""
        run.state = "closed"
        if run.entries:
            self._save(run)
        else:
            self._forget(run)

    def _forget(self, run: Manifest) -> None:
        # One rename hides the run first, so that a kill leaves it whole or gone.
        with self.state.enter(RUNS) as runs, self.state.enter(BUILD) as build:
            runs.move(run.name, build)
            build.remove(run.name)

    def expire(self, keep: int, days: float) -> list[str]:
        """Delete the runs that retention no longer keeps; return their names."""
        gone = expired(self.runs(), keep, days, time.time())
        for run in gone:
            self._forget(run)
        return [run.name for run in gone]


def expired(runs: Sequence[Manifest], keep: int, days: float, now: float) -> list[Manifest]:
    """Return the closed runs that retention no longer keeps; ``runs`` begins with the oldest.

    At most ``keep`` runs stay; 0 keeps none. A run goes ``days`` after the next one; 0 means no limit. Its own start
    does not count, because a clock without a battery may have been years behind.
    """
    closed = [run for run in runs if run.state == "closed"]
    if keep == 0:
        return closed
    old = [run for run, after in zip(closed, closed[1:]) if days and now - after.started > days * 86400]
    return [run for run in closed if run in old or run in closed[:-keep]]
