"""A healthy project on a real PostgreSQL, for tests that break it and mend it again."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import health_check
import pytest
from ansible.module_utils.database.connection import Server
from ansible.module_utils.health import calendars
from ansible.module_utils.project import managed
from ansible.module_utils.testing import patch_module_args
from standin.process import StandIn

from tests import engines

if TYPE_CHECKING:
    from tests.engines import Database

PLUGIN = Path(__file__).resolve().parents[3] / "roles/health/lookup_plugins/health_calendars.py"


@dataclass
class Host:
    """The project; ``check`` runs the module on it."""

    database: Database
    root: Path
    calendars: str
    capsys: pytest.CaptureFixture[str]
    token: str = "demo"

    def run(self, *statements: str, values: Any = None) -> None:
        """Execute statements as the superuser."""
        self.database.run(*statements, values=values)

    def write_env(self, server: Server | None = None, **more: str) -> None:
        """Write ``.env`` as a reset does, with further keys."""
        sections = managed.sections(vars(server or self.database), {"EODHD_API_TOKEN": self.token}, {}, more)
        (self.root / ".env").write_bytes(managed.plan(None, sections).content)

    def sessions(self, suffix: str = "US", count: int = 21) -> list[date]:
        """The last finished sessions of a market, by the time that a bar is expected."""
        calendar = calendars.parse(self.calendars).of(suffix)
        assert calendar
        last = calendar.last_finished(datetime.now(timezone.utc) - timedelta(hours=6))
        return calendar.sessions(last - timedelta(days=3 * count), last)[-count:]

    def load(self, symbol: str, days: list[date]) -> None:
        """Register a symbol and give it bars."""
        self.run("INSERT INTO assets (symbol) VALUES (%s) ON CONFLICT DO NOTHING", values=(symbol,))
        self.run(
            "INSERT INTO market_data SELECT day, %s, 1, 1, 1, 1, 1, 1 FROM unnest(%s::date[]) AS day",
            values=(symbol, days),
        )
        self.run(*engines.LAYOUT.settle)

    def check(self, **options: Any) -> dict[str, Any]:
        """The module's result; EODHD and Redis are asked only where a test says so."""
        arguments = {
            "root": str(self.root),
            "interpreter": sys.executable,
            "calendars": self.calendars,
            "token": False,
            "redis": False,
            **options,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            health_check.main()
        output = self.capsys.readouterr().out
        assert self.database.password not in output
        assert self.token == "demo" or self.token not in output
        result: dict[str, Any] = json.loads(output)
        return result

    def finding(self, name: str, **options: Any) -> tuple[str, str]:
        """Level and message of the only finding of a check that is not ok, or of an ok one."""
        result = self.check(**options)
        found = [(f["level"], f["message"]) for f in result["checks"] if f["check"] == name]
        troubles = [one for one in found if one[0] != "ok"]
        # Everything else is in order.
        assert [f for f in result["checks"] if f["check"] != name and f["level"] != "ok"] == []
        assert result["level"] == (troubles or found)[0][0]
        assert result["healthy"] == (result["level"] != "fail")
        (only,) = troubles or found
        return only


@pytest.fixture(scope="session")
def plugin() -> ModuleType:
    """The lookup that makes the calendars."""
    specification = importlib.util.spec_from_file_location("health_calendars", PLUGIN)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def calendar_text(plugin: ModuleType) -> str:
    """What the lookup sends, of two exchanges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin, "MARKETS", {"XNYS": ["US"], "XLON": ["LSE"]})
        text: str = plugin.text(datetime.now(timezone.utc).date(), 3650, [])
    return text


@pytest.fixture
def host(
    database: Database,
    tmp_path: Path,
    calendar_text: str,
    capsys: pytest.CaptureFixture[str],
) -> Host:
    """A healthy project with 21 bars of one symbol."""
    made = Host(database, tmp_path, calendar_text, capsys)
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
    """EODHD on loopback, which accepts the token of the project alone."""
    host.token = "t0ken/with+odd&signs"
    host.write_env()
    standin_process.control(reset=True, token=host.token, daily=100_000, used=0, requests_date="")
    return standin_process
