"""Entry point of the backfill: runs a request, and reports expected failures as ``Problem``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Callable

from ansible.module_utils.database.connection import Unreachable, cause, driver, explain
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.days import utc_now
from ansible.module_utils.eodhd.model import Request
from ansible.module_utils.eodhd.modes import actions, daily, history, register, snapshot, verify
from ansible.module_utils.reporting import Problem

MODES: Mapping[str, Callable[[Context], dict[str, Any]]] = {
    "history": history.run,
    "daily": daily.run,
    "register": register.run,
    "actions": actions.run,
    "verify": verify.run,
    "snapshot": snapshot.run,
}


def run(request: Request, clock: Callable[[], datetime] = utc_now) -> dict[str, Any]:
    """Run a request and return the module's result; in check mode, only plan it.

    Args:
        clock: returns the current time in UTC.

    Raises:
        Problem: something was not loaded as requested; its details are those of a result.
    """
    context = Context(request, clock)
    try:
        return {"notes": context.notes, **MODES[request.mode](context)}
    except (Unreachable, driver().Error) as error:
        raise Problem(
            f"{explain(error, request.server)} What was stored stays stored."
            " Run the same command again to load the rest without paying twice.",
            cause=cause(error),
        ) from None
    finally:
        context.close()
