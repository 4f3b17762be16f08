"""The health check as the application's role, without further privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import engines

if TYPE_CHECKING:
    from tests.integration.health.conftest import Host


def test_application_role_sees_the_health_that_a_superuser_sees(host: Host) -> None:
    expected = host.check()
    with engines.application(host.database) as role:
        host.write_env(role)
        found = host.check()
    assert (found["healthy"], found["tables"]) == (True, expected["tables"])
    assert [entry["level"] for entry in found["checks"]] == [entry["level"] for entry in expected["checks"]]
