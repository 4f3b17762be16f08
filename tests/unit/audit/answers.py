"""Invented results of hosts, as the module returns them."""

from __future__ import annotations

from datetime import date
from typing import Any

from ansible.module_utils.audit.data import picture
from ansible.module_utils.coverage.expected import Window

from tests.unit.coverage import surveys

TODAY = surveys.TODAY
TEMPLATES = "roles/audit/templates"


def check(name: str, verdict: str, **more: str) -> dict[str, str]:
    empty = {"group": "Root", "expected": "gone", "found": "gone", "advice": "", "waiver": ""}
    return {"name": name, "verdict": verdict, **empty, **more}


def bars(symbols: int, months: int = 24) -> dict[str, Any]:
    """Return a coverage in which some symbols lack bars."""
    markets = surveys.markets(Window.of(months, TODAY))
    market = markets.named("US")
    assert market
    sessions = [day for day in market.days if day <= date(2026, 11, 20)]
    days = {
        f"S{number}.US": [day for at, day in enumerate(sessions) if number % 3 or at % (31 + number)][
            : len(sessions) - 4 * (number % 5)
        ]
        for number in range(symbols)
    }
    found = surveys.survey(days, markets, [*days, "NONE.US"])
    return picture(found, markets, lambda names: {n: days[n] for n in names if n in days}, 40)


def data(symbols: int = 8) -> dict[str, Any]:
    run = {
        "run": 7, "mode": "history", "state": "done", "started": "2026-11-23T04:15:00Z", "seconds": 2.5,
        "totals": {"symbols": 8, "loaded": 8, "calls": 8, "downloaded": 4021, "inserted": 4000, "updated": 21,
                   "unchanged": 0, "set_aside": 0}, "message": "",
    }  # fmt: skip
    return {
        "database": "postgresql://trader:***@hub:5432/market", "identity": "77/market",
        "coverage": bars(symbols), "ledger": [run], "notes": [],
    }  # fmt: skip


def answers() -> dict[str, dict[str, Any]]:
    """Return one host of each kind."""
    moved = {
        "run": "20261123T041500Z", "started": "2026-11-23T04:15:00Z", "state": "closed",
        "undo": "ansible-playbook playbooks/restore.yml -e restore_run=20261123T041500Z",
        "entries": [{"name": "lib64", "what": "moved away", "kept": "link to lib"}],
    }  # fmt: skip
    checks = [
        check(
            "artifact lib64",
            "fail",
            found="link to lib",
            advice="Run `ansible-playbook playbooks/reset.yml`.",
        ),
        check(
            "package redis",
            "waived",
            found="is <not> installed & gone",
            waiver="waived until 2026-12-31: mirror",
        ),
        check("rows assets", "warn", found="0 rows"),
        check("artifact bin", "pass"),
    ]
    return {
        "hub": {"verdict": "fail", "checks": checks, "last_reset": moved, "data": data()},
        "inference": {
            "verdict": "pass",
            "checks": [check("lock", "pass")],
            "last_reset": None,
            "data": data(),
        },
        "gpu": {"unreachable": True, "msg": "no route"},
        "spare": {"skipped": True},
        "broken": {"failed": True, "msg": "Waiver 1 has no reason."},
        "empty": {"verdict": "pass", "checks": [], "last_reset": None, "data": None},
        "silent": {},
    }
