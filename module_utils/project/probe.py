"""Report an interpreter's version, its packages, and whether they can be imported. This is a program.

``venv.probe`` runs it with the interpreter in question, which may be too old for the rest of the project. It reads
names of distributions, or null, from standard input as JSON, and prints the answer as its last line. It runs on
Python 3.6 if it gets null, and on 3.8 with names.
"""

import gc
import json
import os
import re
import sys
from typing import Any, Dict, List, Tuple


def main() -> None:
    """Print the answer."""
    gc.disable()  # the process ends soon
    # One thread for each numeric library: more would only spin while they wait.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    asked = json.load(sys.stdin)
    answer = interpreter()
    if asked is not None:
        answer.update(packages(asked))
    print("\n" + json.dumps(answer, sort_keys=True))


def interpreter() -> Dict[str, Any]:
    """Return this interpreter's version, the path of its base interpreter, and the platform that wheels must fit."""
    version = "{}.{}.{}".format(*sys.version_info[:3])
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError):
        libc = ""
    platform = {
        "python": version, "implementation": sys.implementation.name, "machine": os.uname().machine, "libc": libc
    }  # fmt: skip
    base = getattr(sys, "_base_executable", None) or sys.executable
    return {"version": version, "base": base, "platform": platform}


def packages(names: List[str]) -> Dict[str, Any]:
    """Return the versions of what is ``installed``, and why any of ``names`` ``failed``.

    Each package is imported in a process of its own, so that a crash does not affect the others. One process runs on
    each processor; the largest package starts first because it takes longest.
    """
    from importlib import metadata

    found, installed = {}, {}  # type: Dict[str, Any], Dict[str, str]
    for each in metadata.distributions():
        about = each.metadata  # every access reads and parses it again
        if about["Name"]:
            found[_plain(about["Name"])], installed[_plain(about["Name"])] = each, about["Version"]
    failed = {name: "is not installed" for name in names if _plain(name) not in found}
    waiting = sorted(
        (name for name in names if name not in failed),
        key=lambda name: len(found[_plain(name)].read_text("RECORD") or ""),
    )
    running = {}  # type: Dict[int, Tuple[str, int]]
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            name = waiting.pop()
            pid, reading = _start(found[_plain(name)])
            running[pid] = name, reading
        pid, status = os.wait()
        name, reading = running.pop(pid)
        with open(reading, "rb") as pipe:
            why = pipe.read().decode()
        if why or status:
            failed[name] = why or f"does not import: the import crashed the interpreter (status {status})"
    return {"installed": installed, "failed": failed}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _modules(distribution: Any) -> List[str]:
    """Return the top-level modules of a distribution, without tests and private ones."""
    names = (distribution.read_text("top_level.txt") or "").split()
    if not names:
        paths = [line.split(",")[0] for line in (distribution.read_text("RECORD") or "").splitlines()]
        names = sorted({path.split("/")[0].split(".")[0] for path in paths if path.endswith((".py", ".so"))})
    return [n for n in names if n.isidentifier() and not n.startswith("_") and n not in ("tests", "test")]


def _start(distribution: Any) -> Tuple[int, int]:
    """Import a distribution in a child process; return its pid, and a pipe that yields the error, if any."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            from importlib import import_module

            for module in _modules(distribution):
                import_module(module)
        except BaseException as error:  # noqa: BLE001 - a package may raise anything
            text = f"does not import: {type(error).__name__}: {error}"
            os.write(writing, text[:300].encode("utf-8", "replace"))
        os._exit(0)
    os.close(writing)
    return pid, reading


if __name__ == "__main__":
    main()
