"""Reading a ``.env``, and the check of the connection without a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.module_utils.database.server import Server
from ansible.module_utils.health import settings
from ansible.module_utils.health.model import Host
from ansible.module_utils.reporting import Problem
from hypothesis import given
from hypothesis import strategies as st

FULL = b"""DB_URL=postgresql://u:p@h:1/d
POSTGRES_HOST=h
POSTGRES_PORT=1
POSTGRES_USER=u
POSTGRES_PASSWORD=p
POSTGRES_DB=d
EODHD_API_TOKEN=demo
"""
read = partial(settings.read, path=".env")
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


def test_a_complete_file_lacks_nothing() -> None:
    assert set(settings.REQUIRED) <= read(FULL)[0].keys()


def test_an_alias_serves_as_well() -> None:
    values, _ = read(FULL.replace(b"EODHD_API_TOKEN", b"EODHD_API_KEY"))
    assert values["EODHD_API_TOKEN"] == "demo"


@pytest.mark.parametrize("value", [b"", b"=", b"=''"])
def test_a_key_without_a_value_is_missing(value: bytes) -> None:
    content = FULL.replace(b"EODHD_API_TOKEN=demo", b"EODHD_API_TOKEN" + value)
    assert set(settings.REQUIRED) - read(content)[0].keys() == {"EODHD_API_TOKEN"}


def test_an_empty_password_is_allowed() -> None:
    assert read(FULL.replace(b"PASSWORD=p", b"PASSWORD="))[0]["POSTGRES_PASSWORD"] == ""


def test_values_are_interpolated_as_for_the_application() -> None:
    values, _ = read(FULL.replace(b"TOKEN=demo", b"TOKEN=x${POSTGRES_USER}"))
    assert values["EODHD_API_TOKEN"] == "xu"


def test_dropped_lines_are_numbered() -> None:
    assert read(b"A=1\r\n\r\nthis is nothing\r\n" + FULL)[1] == [3]


def test_a_file_that_is_no_utf8_is_named_with_its_line() -> None:
    with pytest.raises(Problem, match=r"\.env is not UTF-8 \(line 8\)"):
        read(FULL + b"NAME=\xff\n")


@given(texts, texts, texts)
def test_a_server_comes_back_from_its_url(user: str, password: str, database: str) -> None:
    server = Server("h", 5432, user, password, database)
    assert settings.server(server.url(), ".env") == server


@pytest.mark.parametrize("driver", ["postgres", "postgresql+psycopg2"])
def test_other_names_of_the_scheme_are_understood(driver: str) -> None:
    assert settings.server(f"{driver}://u:p@h/d", ".env") == Server("h", 5432, "u", "p", "d")


@pytest.mark.parametrize(
    "url",
    ["", "mysql://u:Secret@h/d", "postgresql://u:Secret%zz@h/d", "postgresql://u:Secret@h:x/d", "u:Secret@h",
     "postgresql://u:Secret@h", "postgresql://u:p@h:1/d?password=Secret&sslmod=x"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_a_part_of_it(url: str) -> None:
    with pytest.raises(Problem, match="--tags dotenv") as caught:
        settings.server(url, ".env")
    assert "Secret" not in str(caught.value)


def test_keys_that_contradict_the_url_are_named() -> None:
    values, _ = read(FULL.replace(b"HOST=h", b"HOST=other"))
    assert settings.disagreements(values, Server("h", 1, "u", "p", "d")) == ["POSTGRES_HOST"]


def test_redis_need_not_be_named() -> None:
    assert "REDIS_HOST" not in read(FULL)[0]
    values, _ = read(FULL + b"REDIS_HOST=cache\nREDIS_URL=\n")
    assert set(settings.REQUIRED) <= values.keys()
    assert values["REDIS_HOST"] == "cache"
    assert "REDIS_URL" not in values


def levels(host: str, superuser: str) -> list[str]:
    session: Any = MagicMock()
    session.info = SimpleNamespace(parameter_status={"is_superuser": superuser, "server_version": "18"}.get)
    context = Host(Path(".env"), [], 1, 1, "auto", lambda *_, **__: session)
    context.server = Server(host, 5432, "postgres", "password", "data_nexus")
    return [finding.level for finding in settings.check_connection(context)]


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
