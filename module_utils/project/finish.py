"""Close the run of a reset: its changes are complete, older ones may go, the next reset may come."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.project import lock
from ansible.module_utils.project.session import opened


def work(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Close and expire, unless in check mode; see the module's documentation for ``params``."""
    closed: list[str] = []
    expired: list[str] = []
    with opened(params) as session, session.looking() as found:
        if found is not None and not check_mode:
            with session.changing() as quarantine:
                for run in quarantine.runs():
                    if run.state == "open":
                        quarantine.settle(run)
                        quarantine.close(run)
                        closed += [run.name] if run.entries else []
                expired = [run.name for run in quarantine.expire(params["keep"], params["keep_days"])]
                lock.release(quarantine.state)
    return {"changed": bool(expired), "closed": closed, "expired": expired}
