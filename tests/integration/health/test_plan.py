"""The plan for a host that was never reset: the checks, and what can be reached, without a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.sandbox.postgres import free_port
from standin.process import StandIn

if TYPE_CHECKING:
    from tests.integration.health.conftest import Host


@pytest.fixture
def plan(host: Host) -> Any:
    """Run the module in check mode on an empty root, with the database's server and the stand-in."""

    def run(**options: Any) -> dict[str, Any]:
        server = {"host": host.database.host, "port": host.database.port}
        empty = host.root / "never-reset"
        return host.check(
            **{
                "root": str(empty),
                "server": server,
                "_ansible_check_mode": True,
                "tables": ["assets"],
                **options,
            }
        )

    return run


def test_what_can_be_reached_is_told(plan: Any) -> None:
    with StandIn() as standin:
        result = plan(token=True, base_url=standin.url)
        assert standin.counts()["paid"] == {}
    assert result["healthy"] is None
    assert result["reachable"] == {"postgresql": True, "eodhd": True}
    assert "Checks: settings, disk, connection, tables" in result["report"]
    assert "Tables: assets" in result["report"]
    assert "System" not in result["report"]


def test_what_cannot_be_reached_is_told_with_what_to_do(plan: Any) -> None:
    result = plan(
        server={"host": "127.0.0.1", "port": free_port()},
        token=True,
        base_url=f"http://127.0.0.1:{free_port()}/api",
    )
    assert result["reachable"] == {"postgresql": False, "eodhd": False}
    assert "Otherwise check postgres_host and postgres_port." in result["report"]
    assert "Check eodhd_base_url" in result["report"]


def test_a_socket_that_is_not_there_is_told(plan: Any, tmp_path: Path) -> None:
    assert plan(server={"host": str(tmp_path), "port": 5432})["reachable"] == {"postgresql": False}


def test_a_missing_environment_is_no_verdict_either(plan: Any, host: Host) -> None:
    assert plan(root=str(host.root), interpreter="/nowhere/bin/python")["healthy"] is None


def test_a_host_that_was_reset_is_judged(plan: Any, host: Host) -> None:
    assert plan(root=str(host.root))["healthy"] is True


def test_without_check_mode_a_missing_file_is_unhealthy(plan: Any) -> None:
    assert plan(_ansible_check_mode=False)["healthy"] is False
