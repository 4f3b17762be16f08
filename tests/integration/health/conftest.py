"""A healthy project on a real PostgreSQL, for tests that break it and fix it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import health_check
import pytest
from ansible.module_utils.database.server import Server
from ansible.module_utils.markets import calendar
from ansible.module_utils.project import managed
from ansible.module_utils.testing import patch_module_args
from standin.process import StandIn

from tests import engines

if TYPE_CHECKING:
    from tests.engines import Database


@dataclass
class Host:
    """The project; ``check`` runs the module on it."""

    database: Database
    root: Path
    capsys: pytest.CaptureFixture[str]
    token: str = "demo"

    def run(self, *statements: str, values: Any = None) -> None:
        """Execute statements as the superuser."""
        self.database.run(*statements, values=values)

    def write_env(self, server: Server | None = None, **more: str) -> None:
        """Write ``.env`` as a reset does, with further keys."""
        sections = managed.sections(vars(server or self.database), {"EODHD_API_TOKEN": self.token}, {}, more)
        (self.root / ".env").write_bytes(managed.edited(None, sections).content)

    def sessions(self, suffix: str = "US", count: int = 21) -> list[date]:
        """Return the last finished sessions of a market whose bars are expected."""
        market = calendar.of(suffix)
        last = calendar.due(suffix, datetime.now(timezone.utc) - timedelta(hours=6))
        assert market
        assert last
        return market.sessions(last - timedelta(days=3 * count), last)[-count:]

    def load(self, symbol: str, days: list[date]) -> None:
        """Register a symbol and give it bars."""
        self.run("INSERT INTO assets (symbol) VALUES (%s) ON CONFLICT DO NOTHING", values=(symbol,))
        self.run(
            "INSERT INTO market_data SELECT day, %s, 1, 1, 1, 1, 1, 1 FROM unnest(%s::date[]) AS day",
            values=(symbol, days),
        )
        self.run(*engines.LAYOUT.settle)

    def check(self, **options: Any) -> dict[str, Any]:
        """Run the module and return its result; EODHD and Redis are asked only if a test says so."""
        arguments = {
            "root": str(self.root),
            "interpreter": sys.executable,
            "token": False,
            "redis": False,
            **options,
            # A machine that is busy with tests answers slowly.
            "limits": {"latency_warn": 60_000, **options.get("limits", {})},
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            health_check.main()
        output = self.capsys.readouterr().out
        assert self.database.password not in output
        assert self.token == "demo" or self.token not in output
        result: dict[str, Any] = json.loads(output)
        return result

    def finding(self, name: str, **options: Any) -> tuple[str, str]:
        """Return level and message of a check's only finding, or of its only one that is not ok."""
        result = self.check(**options)
        found = [(f["level"], f["message"]) for f in result["checks"] if f["check"] == name]
        troubles = [one for one in found if one[0] != "ok"]
        # Everything else is in order.
        assert [f for f in result["checks"] if f["check"] != name and f["level"] != "ok"] == []
        assert result["level"] == (troubles or found)[0][0]
        assert result["healthy"] == (result["level"] != "fail")
        (only,) = troubles or found
        return only


@pytest.fixture
def host(
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Host:
    """A healthy project with 21 bars of one symbol."""
    made = Host(database, tmp_path, capsys)
    engines.create_tables(database)
    made.load("AAPL.US", made.sessions())
    made.write_env()
    return made


@pytest.fixture(scope="session")
def standin_process() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture
def standin(standin_process: StandIn, host: Host) -> StandIn:
    """EODHD on loopback, which accepts only the project's token."""
    host.token = "t0ken/with+odd&signs"
    host.write_env()
    standin_process.control(reset=True, token=host.token, daily=100_000, used=0, requests_date="")
    return standin_process
