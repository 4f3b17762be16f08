"""The process table during a run, as every user of the machine can read it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")


class Watch:
    """Samples the command lines of all new processes, and the environments of our descendants."""

    def __init__(self, pause: float = 0.004) -> None:
        self.commands: set[str] = set()
        self.environments: set[str] = set()
        self._pause = pause
        self._known = _pids()
        # The command line of each when its environment was read. Both change when it executes a program.
        self._seen: dict[int, str] = {}
        self._ours = {os.getpid()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(self._pause):
            for pid in sorted(_pids() - self._known):
                try:
                    self._look(pid)
                except OSError:
                    continue  # it has ended, or belongs to another user

    def _look(self, pid: int) -> None:
        command = _text(PROC / str(pid) / "cmdline")
        if self._seen.get(pid) == command:
            return
        self.commands.add(command)
        parent = int(_text(PROC / str(pid) / "stat").rpartition(")")[2].split()[1])
        if parent in self._ours or pid in self._ours:
            self._ours.add(pid)
            self.environments.add(_text(PROC / str(pid) / "environ"))
        self._seen[pid] = command


def _pids() -> set[int]:
    return {int(name) for name in os.listdir(PROC) if name.isdigit()}


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape").replace("\0", "\n")
