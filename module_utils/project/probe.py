"""Asked of an interpreter: who it is, what it holds, and whether that imports. A program: Python 3.6 can run it.

``venv.probe`` reads this file and gives it to the interpreter in question, which need not be one that can run the rest
of the project. Names of distributions come on standard input as JSON, or null; the answer is the last line of the
standard output. Only what is asked of names needs Python 3.8.
"""

import gc
import json
import os
import re
import sys
from typing import Any, Dict, List, Tuple


def main() -> None:
    """Answer."""
    gc.disable()  # there is none to collect in so short a life
    # Numeric libraries are kept to one thread each: the others would only wait, and spin as they do.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    asked = json.load(sys.stdin)
    answer = interpreter()
    if asked is not None:
        answer.update(packages(asked))
    print("\n" + json.dumps(answer, sort_keys=True))


def interpreter() -> Dict[str, Any]:
    """Who this interpreter is: its version, the path of the one that it was made with, and what wheels must fit."""
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
    """What is ``installed``, and which of ``names`` ``failed`` and why.

    Each package is imported by a process of its own: what crashes one says nothing of the others. As many run at
    once as there are processors, the largest first, for it decides how long all take.
    """
    from importlib import metadata

    found, installed = {}, {}  # type: Dict[str, Any], Dict[str, str]
    for each in metadata.distributions():
        told = each.metadata  # is read and parsed at each look
        if told["Name"]:
            found[_plain(told["Name"])], installed[_plain(told["Name"])] = each, told["Version"]
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
            failed[name] = why or f"does not import: its import ended the interpreter (status {status})"
    return {"installed": installed, "failed": failed}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _modules(distribution: Any) -> List[str]:
    """The top-level modules of a distribution, without its tests and what is private."""
    names = (distribution.read_text("top_level.txt") or "").split()
    if not names:
        paths = [line.split(",")[0] for line in (distribution.read_text("RECORD") or "").splitlines()]
        names = sorted({path.split("/")[0].split(".")[0] for path in paths if path.endswith((".py", ".so"))})
    return [n for n in names if n.isidentifier() and not n.startswith("_") and n not in ("tests", "test")]


def _start(distribution: Any) -> Tuple[int, int]:
    """Import a distribution in a child: its pid, and a descriptor that yields why it could not."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            from importlib import import_module

            for module in _modules(distribution):
                import_module(module)
        except BaseException as error:  # noqa: BLE001 - whatever a package raises is its failure
            text = f"does not import: {type(error).__name__}: {error}"
            os.write(writing, text[:300].encode("utf-8", "replace"))
        os._exit(0)
    os.close(writing)
    return pid, reading


if __name__ == "__main__":
    main()
