"""Five hosts on this machine, one of each kind, and their audit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.eodhd.migrations import FUNCTIONS, MIGRATIONS
from standin.process import StandIn

from tests import engines
from tests.engines import Database

ROOT = Path(__file__).resolve().parents[3]
BROWSER = next(
    filter(
        None,
        map(
            shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
        ),
    ),
    None,
)
NO_BROWSER = (
    "the audit's page was not looked at in a browser: apt-get install chromium, or install Google Chrome"
)
TOKEN = "t0k~en/7f3a"  # noqa: S105 - invented
EXPIRED = date.today() - timedelta(days=2)
# By host; hub has none.
WAIVERS = {
    "gpu": {
        "check": "artifact lib", "reason": "a tool of the team lives there", "expires": "2099-12-31", "host": "gpu",
    },
    "bare": {"check": "artifact lib64", "reason": "long ago", "expires": str(EXPIRED)},
    "lax": {"check": "lock", "expires": "2099-01-01"},  # no reason
}  # fmt: skip


@dataclass
class Estate:
    """Hosts with roots of their own, and one database."""

    folder: Path
    server: Database
    values: dict[str, Any] = field(default_factory=dict)
    reset_said: str = ""
    reset_requests: int = 0

    def root(self, host: str) -> Path:
        return self.folder / host

    def play(self, playbook: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        given = self.folder / f"{uuid.uuid4().hex}.json"
        given.write_text(json.dumps({**self.values, **more}))
        own_index = {key: os.environ[key] for key in os.environ if key.startswith(("PIP_", "UV_", "SSL_"))}
        done = subprocess.run(
            [sys.executable, Path(sys.executable).parent / "ansible-playbook", f"playbooks/{playbook}.yml",
             "-i", self.folder / "inventory/hosts.yml", "-e", f"@{given}", *arguments],
            cwd=ROOT, env={**own_index, "PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert TOKEN not in done.stdout + done.stderr
        assert self.server.password not in done.stdout + done.stderr
        return done

    def execute(self, *statements: str) -> None:
        self.server.run(*statements)


def inventory(folder: Path) -> None:
    """``hub`` and ``gpu`` are reset, ``bare`` and ``lax`` never were, ``away`` cannot be reached."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts: dict[str, Any] = {
        name: {**here, "project_root": str(folder / name)} for name in ("hub", "gpu", "bare", "lax")
    }
    for name, waiver in WAIVERS.items():
        hosts[name]["audit_waivers"] = [waiver]
    # The error of ssh for a host that does not answer; this machine may have no ssh.
    away = folder / "ssh"
    away.write_text(
        "#!/bin/sh\necho 'ssh: connect to host 127.0.0.1 port 9: Connection refused' >&2\nexit 255\n"
    )
    away.chmod(0o755)
    hosts["away"] = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_executable": str(away)}
    hosts["away"]["project_root"] = str(folder / "away")
    (folder / "inventory").mkdir()
    (folder / "inventory/group_vars").symlink_to(ROOT / "group_vars")
    (folder / "inventory/hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    for name in ("hub", "gpu", "bare", "lax"):
        (folder / name / "src").mkdir(parents=True)
        (folder / name / "lib").mkdir()
        (folder / name / "lib64").symlink_to("lib")
        (folder / name / ".env").write_text("AI_KEY=kept\nDB_URL=old\n")


@pytest.fixture(scope="session")
def estate(tmp_path_factory: pytest.TempPathFactory, postgres_server: Database) -> Estate:
    """The hosts, some of them reset, with a gap in the bars and a symbol that is behind."""
    folder = tmp_path_factory.mktemp("estate")
    inventory(folder)
    database = replace(postgres_server, database=f"audit_{uuid.uuid4().hex[:8]}")
    if engines.LAYOUT.statements:  # otherwise the reset creates it
        engines.create_tables(engines.create_database(postgres_server, database.database))
    found = Estate(folder, database)
    found.values = {
        "ansible_remote_tmp": str(folder / "tmp"),
        "postgres_host": postgres_server.host,
        "postgres_port": postgres_server.port,
        "postgres_user": postgres_server.user,
        "postgres_password": postgres_server.password,
        "postgres_db": found.server.database,
        "eodhd_api_token": TOKEN,
        "project_protected": ["src"],
        "project_packages": ["psycopg2-binary", "python-dotenv", "requests"],
        "project_index_urls": [""],
        "project_space_mb": 1,
        "health_token": False,
        "health_redis": False,
        "health_stale_fail": 0,
        "health_disk_warn": 0,
        "health_disk_fail": 0,
    }
    with StandIn() as standin:
        standin.control(token=TOKEN)
        done = found.play(
            "reset", "--limit", "hub,gpu", audit_evidence_dir=str(folder / "none"), health_token=True,
            eodhd_base_url=standin.url,
        )  # fmt: skip
        found.reset_requests = standin.counts()["requests"]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    found.reset_said = done.stdout
    bars(found)
    return found


def bars(estate: Estate) -> None:
    """Return two years of three markets, with sessions from the library."""
    import exchange_calendars  # heavy: for this process alone

    today = date.today()
    first = today - timedelta(days=800)
    nyse = [
        day.date()
        for day in exchange_calendars.get_calendar("XNYS").sessions_in_range(str(first), str(today))
    ]
    every = [first + timedelta(days=n) for n in range((today - first).days)]
    forex = [day for day in every if day.weekday() != 5 and (day.month, day.day) not in ((1, 1), (12, 25))]
    series = {
        "AAPL.US": nyse[:-1],
        "MSFT.US": [day for day in nyse[:-1] if day != nyse[-9]],  # a gap
        "VTI.US": nyse[:-31],  # behind
        "IPO.US": nyse[-80:-1],
        "EURUSD.FOREX": forex,
        "BTC-USD.CC": every,
    }
    values = ",".join(f"('{day}+00', '{symbol}', 1)" for symbol, days in series.items() for day in days)
    totals = json.dumps(
        {"symbols": 6, "loaded": 6, "calls": 6, "inserted": 2500, "updated": 0, "unchanged": 0}
    )
    estate.execute(
        f"INSERT INTO market_data (time, symbol, close) VALUES {values}",
        "INSERT INTO assets (symbol) VALUES ('NONE.US'), " + ", ".join(f"('{symbol}')" for symbol in series),
        *MIGRATIONS,
        FUNCTIONS,
        "INSERT INTO backfill_run (mode, request, worker, state, started, finished, totals) VALUES"
        f" ('history', '{{}}', 'w', 'done', now() - interval '1 hour', now(), '{totals}')",
        *engines.LAYOUT.settle,
    )


@dataclass
class Audited:
    """A finished audit and its results."""

    estate: Estate
    folder: Path
    done: subprocess.CompletedProcess[str]
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "audit.json").read_text())
        return found

    def host(self, name: str) -> dict[str, Any]:
        (found,) = [host for host in self.document["hosts"] if host["name"] == name]
        return dict(found)


def picture(root: Path) -> dict[str, Any]:
    """Return everything in a root that an audit must not change."""
    paths = [root, *root.rglob("*")]
    return {
        str(path): (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino)
        for path in paths
        for found in [path.lstat()]
    }


@pytest.fixture(scope="session")
def audited(estate: Estate) -> Iterator[Audited]:
    """The audit of all hosts: hub passes, gpu has a failed and a waived check."""
    lib = estate.root("gpu") / "lib"
    lib.mkdir()
    (estate.root("gpu") / ".env").chmod(0o644)
    folder = estate.folder / "evidence"
    before = picture(estate.root("hub"))
    done = estate.play("audit", audit_evidence_dir=str(folder))
    yield Audited(estate, folder, done, before, picture(estate.root("hub")))
    lib.rmdir()
    (estate.root("gpu") / ".env").chmod(0o600)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line if the page's tests were skipped."""
    if any("test_page.py" in report.nodeid for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(f"skipped: {NO_BROWSER}")
