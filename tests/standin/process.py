"""Starts the stand-in in a process of its own and talks to it; for tests and benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

TESTS = Path(__file__).resolve().parent.parent


class StandIn:
    """A running stand-in; a context manager that ends it by its process id.

    Args:
        arguments: command-line options of ``python -m standin``.
        host: address to listen on.
    """

    def __init__(self, *arguments: str, host: str = "127.0.0.1") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "standin", "--host", host, *arguments],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self._site = f"http://{host}:{self.port}"
        self.url = f"{self._site}/api"

    def control(self, **change: Any) -> None:
        """Change the stand-in's settings; ``reset=True`` forgets the counts and the told answers."""
        self._call("_control", json.dumps(change).encode())

    def counts(self) -> dict[str, Any]:
        """Return what was asked and paid since the last reset."""
        result: dict[str, Any] = json.loads(self._call("_counts", None))
        return result

    def _call(self, name: str, body: bytes | None) -> bytes:
        with urllib.request.urlopen(f"{self._site}/{name}", body, timeout=10) as answer:  # noqa: S310
            result: bytes = answer.read()
            return result

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
