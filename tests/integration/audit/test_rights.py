"""The commands that users type, from a separate inventory, as a role without further privileges."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest
from ansible.module_utils.audit import data
from ansible.module_utils.coverage.expected import Markets, Window
from standin.process import StandIn

from tests import engines
from tests.engines import Database
from tests.integration.audit.conftest import TOKEN
from tests.integration.settings.conftest import LOCAL, Place

KIND = {"timescaledb": "timescaledb", "citus": "citus"}.get(
    engines.LAYOUT.engine, "partitioned" if engines.LAYOUT.statements else "plain"
)
ROLE_PASSWORD = "its/own %word"


@pytest.fixture
def hub(postgres_server: Database, tmp_path: Path) -> Iterator[Place]:
    """A host with a legacy project, and a server without its database."""
    root = tmp_path / "project"
    for name in ("src", "bin"):
        (root / name).mkdir(parents=True)
    admin = replace(postgres_server, database=f"rights_{uuid.uuid4().hex[:8]}")
    role = replace(admin, user=f"{admin.database}_app", password=ROLE_PASSWORD)
    found = Place(tmp_path)
    with StandIn() as standin:
        standin.control(token=TOKEN)
        found.inventory = {"all": {"children": {"trading": {"hosts": {"hub": LOCAL}, "vars": {
            "ansible_remote_tmp": str(tmp_path / "tmp"),
            "postgres_host": role.host, "postgres_port": role.port, "postgres_user": role.user,
            "vault_postgres_password": role.password, "vault_eodhd_api_token": TOKEN,
            "postgres_db": role.database, "postgres_layout": KIND,
            "postgres_citus_workers": [f"{worker.host}:{worker.port}" for worker in engines.WORKER_SERVERS],
            "eodhd_base_url": standin.url,
            "project_root": str(root), "project_protected": ["src"], "project_index_urls": [""],
            "project_packages": ["psycopg2-binary", "python-dotenv", "requests"], "project_space_mb": 1,
            "backfill_days": 45, "health_redis": False, "health_disk_warn": 0, "health_disk_fail": 0,
            "audit_evidence_dir": str(tmp_path / "audit"),
        }}}}}  # fmt: skip
        yield found
    engines.drop_roles(admin, role)
    engines.drop_database(postgres_server, admin.database)


@pytest.mark.timeout(300)
def test_every_playbook_runs_from_an_inventory_elsewhere_with_the_rights_of_the_application(
    hub: Place, postgres_server: Database
) -> None:
    """An executable inventory works like a file; the test alternates them."""
    administrator = {
        "postgres_admin_user": postgres_server.user,
        "postgres_admin_password": postgres_server.password,
    }
    for playbook, arguments, form, said in (
        ("reset", ("--tags", "database", "-e", json.dumps(administrator)), "static", "changed=1"),
        ("reset", ("--skip-tags", "health"), "executable", "moved away"),
        ("backfill", (), "executable", "🎉 SUCCESS: Database populated"),
        ("reset", ("--tags", "health"), "static", "✅ System Healthy"),
        ("audit", (), "executable", "Audit passed"),
        ("restore", (), "static", "bin"),
    ):
        done = hub.play(playbook, *arguments, form=form)
        assert done.returncode == 0, f"{playbook} {arguments}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
        assert said in done.stdout
        for secret in (TOKEN, quote(TOKEN, safe=""), ROLE_PASSWORD, quote(ROLE_PASSWORD, safe="")):
            assert secret not in done.stdout + done.stderr
    assert (hub.folder / "project/bin").is_dir()
    document = json.loads((hub.folder / "audit/audit.json").read_text())
    (host,), (database,) = document["hosts"], document["databases"]
    assert host["name"] == "hub"
    assert [check["name"] for check in host["checks"] if check["verdict"] != "pass"] == []
    assert database["notes"] == []
    assert (database["coverage"]["symbols"], database["ledger"][0]["state"]) == (1, "done")


def test_right_that_the_audit_lacks_is_named(database: Database) -> None:
    engines.create_tables(database)
    now = datetime.now(timezone.utc)
    markets = Markets(Window.of(3, now.date()), now, timedelta(hours=6))
    with engines.application(database) as role:
        database.run(f'REVOKE SELECT ON backfill_run, market_data FROM "{role.user}"')
        found = data.look(role, markets, 40, 5, 20)
    ledger, bars = found["notes"]
    assert re.match("The ledger could not be read.*permission denied for table backfill_run", ledger)
    assert re.match("The map of 3 months could not be read.*permission denied for table market_data", bars)
    assert found["snapshots"] == []
