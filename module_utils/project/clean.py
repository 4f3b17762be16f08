"""Move the artifacts of a root out of the way."""

from __future__ import annotations

from typing import Any, Callable

from ansible.module_utils.project import guards, preflight
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.quarantine import totals
from ansible.module_utils.project.root import Item
from ansible.module_utils.project.session import opened


def work(params: dict[str, Any], check_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Judge the whole reset, plan, and unless in check mode apply; see the module's documentation for ``params``."""
    # The venv serves until another one is proven: its turn comes with the exchange.
    names = [name for name in params["artifacts"] if name != VENV]
    run = None
    with opened(params) as session:
        judged = preflight.judge(session, params, warn)
        found = guards.present(session.root, names, session.root.item)
        if found and not check_mode:
            with session.changing() as quarantine:
                run = quarantine.displace(quarantine.begin("reset", session.holder), list(found))
        unfinished = session.unfinished()
    return {
        "changed": bool(found),
        **judged,
        "unfinished": unfinished,
        "moved": [{"name": name, **listed(item)} for name, item in found.items()],
        "run": run.name if run else None,
        "kept": totals([run] if run else []),
        "diff": {
            "before": "".join(f"{name}  {described(item)}\n" for name, item in found.items()),
            "after": "",
            "before_header": params["root"],
            "after_header": "moved to quarantine",
        },
    }


def listed(item: Item) -> dict[str, Any]:
    """An item for a result."""
    return {"kind": item.kind, "files": item.files, "bytes": item.bytes, "target": item.target}


def described(item: Item) -> str:
    """An item for people: ``directory, 12 files, 3.4 MiB``."""
    if item.kind == "link":
        return f"link to {item.target}"
    if item.kind == "directory":
        return f"directory, {item.files} {'file' if item.files == 1 else 'files'}, {size(item.bytes)}"
    return f"{item.kind}, {size(item.bytes)}"


def size(count: float) -> str:
    """Bytes for people, in powers of 1024."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
