"""Write metrics for Prometheus, as a text file for node_exporter's textfile collector."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.reporting import Problem

# A metric: its name, its meaning, and its values, each with labels.
Metric = tuple[str, str, Iterable[tuple[Mapping[str, str], Any]]]
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def text(prefix: str, metrics: Iterable[Metric]) -> str:
    """Return the text of the file; ``prefix`` begins the name of each metric."""
    lines = []
    for name, meaning, values in metrics:
        lines += [f"# HELP {prefix}{name} {meaning}", f"# TYPE {prefix}{name} gauge"]
        for labels, value in values:
            shown = ",".join(f'{label}="{word.translate(_ESCAPES)}"' for label, word in labels.items())
            lines.append(f"{prefix}{name}{{{shown}}} {value}" if shown else f"{prefix}{name} {value}")
    return "".join(f"{line}\n" for line in lines)


def write(path: str, content: str, setting: str) -> None:
    """Replace the file atomically, with mode 0644, so that the collector never reads half of it.

    Raises:
        Problem: the folder is missing or not writable; the message names the ``setting``.
    """
    try:
        replace(Path(path).absolute(), content.encode(), 0o644)
    except OSError as error:
        raise Problem(
            f"{setting} {path} cannot be written ({error.strerror}). Create its folder and make it writable for the"
            f" connecting user, or set {setting} to another path."
        ) from None


def replace(path: Path, content: bytes, mode: int) -> None:
    """Replace a file atomically, through a temporary file in the same folder; raises OSError."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
