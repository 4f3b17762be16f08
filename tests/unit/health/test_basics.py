"""The check of the connection, without a server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.module_utils.database.server import Server
from ansible.module_utils.health import basics
from ansible.module_utils.health.model import Host


def levels(host: str, superuser: str) -> list[str]:
    session: Any = MagicMock()
    session.info = SimpleNamespace(parameter_status={"is_superuser": superuser, "server_version": "18"}.get)
    context = Host(Path(".env"), [], 1, 1, "auto", lambda *_, **__: session)
    context.server = Server(host, 5432, "postgres", "password", "data_nexus")
    return [finding.level for finding in basics.check_connection(context)]


@pytest.mark.parametrize(
    ("host", "superuser", "expected"),
    [
        ("db.example", "on", ["warn", "ok"]),
        ("db.example", "off", ["ok"]),
        ("127.0.0.1", "on", ["ok"]),
        ("/run/postgresql", "on", ["ok"]),
    ],
)
def test_superuser_over_the_network_is_a_warning(host: str, superuser: str, expected: list[str]) -> None:
    assert levels(host, superuser) == expected
