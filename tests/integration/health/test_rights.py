"""The health check as a role that has no right beyond its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ansible.module_utils.database import connection, schema
from ansible.module_utils.database.schema import Asked

if TYPE_CHECKING:
    from tests.integration.health.conftest import Host


def test_application_role_sees_the_health_that_a_superuser_sees(host: Host) -> None:
    expected = host.check()
    server = host.database
    role = replace(server, user=f"{server.database}_app", password="application")
    admin = Asked(admin=(server.user, server.password))
    schema.ensure(role, 5, check=False, open_connection=connection.connect, asked=admin)
    try:
        host.write_env(role)
        found = host.check()
        assert (found["healthy"], found["tables"]) == (True, expected["tables"])
        assert [entry["level"] for entry in found["checks"]] == [
            entry["level"] for entry in expected["checks"]
        ]
    finally:
        roles = f'"{role.user}", "{server.database}_owner"'
        host.run(f"DROP OWNED BY {roles} CASCADE", f"DROP ROLE {roles}")
