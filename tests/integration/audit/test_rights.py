"""The commands that users type, as a role that has no right beyond its own."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible.module_utils.audit import data
from standin.process import StandIn

from tests import engines
from tests.engines import Database
from tests.integration.audit.conftest import TOKEN, Estate, inventory

KIND = {"timescaledb": "timescaledb", "citus": "citus"}.get(
    engines.LAYOUT.engine, "partitioned" if engines.LAYOUT.statements else "plain"
)


@pytest.fixture
def hub(postgres_server: Database, tmp_path: Path) -> Iterator[Estate]:
    """A host that an administrator has made a database and an application's role for."""
    inventory(tmp_path)
    admin = replace(postgres_server, database=f"rights_{uuid.uuid4().hex[:8]}")
    role = replace(admin, user=f"{admin.database}_app", password="its/own %word")
    found = Estate(tmp_path, role)
    found.values = {
        "ansible_remote_tmp": str(tmp_path / "tmp"),
        **{f"postgres_{name}": getattr(role, name) for name in ("host", "port", "user", "password")},
        "postgres_db": role.database,
        "postgres_layout": KIND,
        "postgres_citus_workers": [f"{worker.host}:{worker.port}" for worker in engines.WORKER_SERVERS],
        "eodhd_api_token": TOKEN,
        "project_protected": ["src"],
        "project_packages": ["psycopg2-binary", "python-dotenv", "requests"],
        "project_index_urls": [""],
        "project_space_mb": 1,
        "backfill_days": 45,
        "health_redis": False,
        "health_disk_warn": 0,
        "health_disk_fail": 0,
    }
    administrator = {"postgres_admin_user": admin.user, "postgres_admin_password": admin.password}
    done = found.play("reset", "--limit", "hub", "--tags", "venv,dotenv,database", **administrator)
    assert done.returncode == 0, done.stdout[-3000:]
    yield found
    engines.drop_roles(admin, role)
    engines.drop_database(postgres_server, admin.database)


def test_reset_backfill_health_and_audit_work_with_the_rights_of_the_application(
    hub: Estate, tmp_path: Path
) -> None:
    with StandIn() as standin:
        standin.control(token=TOKEN)
        service = {"eodhd_base_url": standin.url}
        reset = hub.play("reset", "--limit", "hub", "--skip-tags", "health", **service)
        assert reset.returncode == 0, reset.stdout[-3000:]
        filled = hub.play("backfill", "--limit", "hub", **service)
        assert "🎉 SUCCESS" in filled.stdout, filled.stdout[-3000:]
        health = hub.play("reset", "--limit", "hub", "--tags", "health", **service)
        assert health.returncode == 0, health.stdout[-3000:]
        audit = hub.play("audit", "--limit", "hub", audit_evidence_dir=str(tmp_path / "evidence"), **service)
        assert audit.returncode == 0, audit.stdout[-3000:]
    document = json.loads((tmp_path / "evidence/audit.json").read_text())
    (host,), (database,) = document["hosts"], document["databases"]
    assert [check["name"] for check in host["checks"] if check["verdict"] != "pass"] == []
    assert database["notes"] == []
    assert (database["coverage"]["symbols"], database["ledger"][0]["state"]) == (1, "done")


def test_right_that_the_audit_lacks_is_named(database: Database) -> None:
    engines.create_tables(database)
    with engines.application(database) as role:
        database.run(f'REVOKE SELECT ON backfill_run, market_data FROM "{role.user}"')
        found = data.look(role, datetime.now(timezone.utc), timedelta(hours=6), 3, 40, 5, 20)
    ledger, bars = found["notes"]
    assert re.match("The ledger could not be read.*permission denied for table backfill_run", ledger)
    assert re.match("The map of 3 months could not be read.*permission denied for table market_data", bars)
    assert found["snapshots"] == []
