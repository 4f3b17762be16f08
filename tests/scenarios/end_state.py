"""What a reset leaves behind, asserted line by line with tools that are not the project's own.

Run by ``molecule test`` (molecule/default/verify.yml), which passes the facts of the scenario as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dotenv import dotenv_values

FACTS: dict[str, Any] = json.loads(os.environ["SCENARIO"])
ROOT = Path(FACTS["root"])
REPOSITORY = Path(__file__).resolve().parent.parent.parent
DB_URL = f"postgresql://postgres:password@localhost:{FACTS['port']}/data_nexus"


def output(*argv: str | Path) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("name", [name for name in FACTS["artifacts"] if name != "venv"])
def test_artifact_is_gone(name: str) -> None:
    assert not os.path.lexists(ROOT / name)


@pytest.mark.parametrize("name", ["src", "scripts", "docs", ".git"])
def test_protected_path_is_there(name: str) -> None:
    assert (ROOT / name).is_dir()


def test_git_sees_nothing_of_the_reset() -> None:
    assert output("git", "-C", ROOT, "status", "--porcelain") == ""


def test_activate_gives_the_environment() -> None:
    command = f". {ROOT}/venv/bin/activate && python -c 'import sys; print(sys.prefix)'"
    assert output("sh", "-c", command).strip() == str(ROOT / "venv")


def test_pip_lists_every_package() -> None:
    listed = {line.split()[0].lower() for line in output(ROOT / "venv/bin/pip", "list").splitlines()[2:]}
    assert set(FACTS["packages"]) <= listed


@pytest.mark.parametrize("module", ["pandas", "sqlalchemy", "psycopg2", "requests", "redis", "dotenv"])
def test_package_imports(module: str) -> None:
    output(ROOT / "venv/bin/python", "-c", f"import {module}")


def test_console_script_runs() -> None:
    assert "charset" in output(ROOT / "venv/bin/normalizer", "--help").lower()


def test_database_url_stands_exactly_so() -> None:
    assert f"DB_URL={DB_URL}" in (ROOT / ".env").read_text().splitlines()


def test_managed_keys_have_their_values() -> None:
    expected = {
        "DB_URL": DB_URL,
        "POSTGRES_HOST": "localhost",
        "POSTGRES_PORT": str(FACTS["port"]),
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": "password",
        "POSTGRES_DB": "data_nexus",
        "EODHD_API_TOKEN": "demo",
        "ENVIRONMENT": "development",
        "DEBUG": "false",
    }
    found = dotenv_values(ROOT / ".env")
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("heading", ["Database Configuration", "API Keys", "Environment Flags"])
def test_heading_stands_once(heading: str) -> None:
    assert (ROOT / ".env").read_text().count(f"# {heading}\n") == 1


def test_foreign_lines_are_still_there() -> None:
    """Every statement of the polluted file whose key the reset does not own; the old file is in quarantine."""
    (old,) = ROOT.glob(".reset/runs/*/kept/.env")
    before, after = dotenv_values(old, interpolate=False), dotenv_values(ROOT / ".env", interpolate=False)
    own = {"DB_URL", "EODHD_API_TOKEN", "ENVIRONMENT", "DEBUG"}
    foreign = {
        key: value for key, value in before.items() if key not in own and not key.startswith("POSTGRES_")
    }
    assert len(foreign) >= 3
    assert {key: after.get(key) for key in foreign} == foreign


def test_dotenv_is_private() -> None:
    assert (ROOT / ".env").stat().st_mode & 0o7777 == 0o600


def test_both_tables_can_be_counted() -> None:
    connection = psycopg2.connect(DB_URL)
    with connection, connection.cursor() as cursor:
        cursor.execute("select (select count(*) from market_data), (select count(*) from assets)")
        assert cursor.fetchone() == (0, 0)
    connection.close()


def test_health_check_says_healthy_with_the_counts() -> None:
    text = output(
        "ansible-playbook", "-i", REPOSITORY / "inventory/sandbox.yml", REPOSITORY / "playbooks/reset.yml",
        "--tags", "health", "-e", f"sandbox_dir={FACTS['sandbox_dir']}", "-e", f"sandbox_port={FACTS['port']}",
    )  # fmt: skip
    assert "📊 Infrastructure Health Check\n" in text
    assert f"Database: postgresql://postgres:***@localhost:{FACTS['port']}/data_nexus\n" in text
    assert "✅ Connection successful\n" in text
    assert "   market_data: 0 rows\n" in text
    assert "   assets: 0 rows\n" in text
    assert "✅ System Healthy\n" in text
    assert text.index("📈 Table Statistics:") < text.index("market_data: 0 rows")
