"""Fixtures: a host with an environment, roles with hostile passwords, and the totals at the end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from psycopg2 import sql

from tests.engines import Database
from tests.faults.test_kills import FULL
from tests.faults.wheels import Index, index
from tests.secrets.play import FIGURES, Host, Outcome

full = pytest.mark.skipif(not FULL, reason="FAULTS=full only (make faults)")

# Characters that are special in a shell, a URL, a template, a .env, YAML, XML or libpq. Each ~ becomes a unique word,
# so that the search finds any piece that a parser quotes.
HOSTILE = {
    "quotes": 'it~\'s "~q"',
    "percent": "p~%zz~%41",
    "variable": "${HOME}~$(id)`~`",
    "spaces": "  two~  words~ ",
    "url": "p~@ss~/w~:rd~#~?",
    "unicode": "schlüssel~密🔑",
    "markup": "a~&b~<c~>~;|d",
    "backslash": "\\n~\\'~\\",
}


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """Return all secrets of the session by name; no other session on this machine has the same."""
    values = {
        **HOSTILE,
        "token": "to~&en=~%zz#~+",
        "index": "s~/c~:r~@t",
        "old": "~ previous",
        "key": "--~ BEGIN KEY",
    }
    return {name: f"{value}-~".replace("~", uuid.uuid4().hex[:12]) for name, value in values.items()}


def credentials(secrets: dict[str, str]) -> str:
    return f"buyer:{quote(secrets['index'], safe='')}@"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Start a package index that can fail in every way."""
    with index(tmp_path_factory.mktemp("wheels")) as server:
        yield server


@pytest.fixture(scope="session")
def role(postgres_server: Database) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Yield a function that sets the password of the role ``trader`` and returns the variables to connect with it."""
    with closing(postgres_server.connect()) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE ROLE trader LOGIN CREATEDB")

        def give(password: str) -> dict[str, Any]:
            cursor.execute(sql.SQL("ALTER ROLE trader PASSWORD {}").format(sql.Literal(password)))
            return {
                "postgres_host": postgres_server.host,
                "postgres_port": postgres_server.port,
                "postgres_user": "trader",
                "postgres_password": password,
                "postgres_db": "market",
            }

        yield give


class Searched:
    """Runs playbooks with all secrets, and searches what each run leaves."""

    def __init__(self, host: Host, secrets: dict[str, str], give: Callable[[str], dict[str, Any]]) -> None:
        self.host = host
        self.secrets = secrets
        self.give = give
        self._next = 0

    def __call__(self, playbook: str, *arguments: str, password: str | None = None, **more: Any) -> Outcome:
        """Run a playbook, and fail if a secret leaks. Without ``password``, runs use the hostile ones in turn."""
        if password is None:
            password = list(HOSTILE)[self._next % len(HOSTILE)]
            self._next += 1
        return self.search(self.host.play(playbook, *arguments, **self.values(password, **more)))

    def search(self, outcome: Outcome) -> Outcome:
        """Fail if a secret leaked."""
        # uv and pip get the URL of the index from their environment, which only its owner and root can read.
        assert FIGURES.leaks(outcome, self.secrets, frozenset({"index"})) == []
        return outcome

    def values(self, password: str, **more: Any) -> dict[str, Any]:
        """Return settings that hold every secret."""
        return {
            **self.give(self.secrets[password]),
            "eodhd_api_token": self.secrets["token"],
            "project_env": {f"KEY_{name.upper()}": secret for name, secret in self.secrets.items()},
            "project_packages": ["psycopg2-binary", "python-dotenv", "requests"],
            "project_index_urls": [""],
            **more,
        }


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory, secrets: dict[str, str]) -> Host:
    """Return the host of the session."""
    return Host(tmp_path_factory.mktemp("host"), secrets)


@pytest.fixture(scope="session")
def play(host: Host, secrets: dict[str, str], role: Callable[[str], dict[str, Any]]) -> Searched:
    """Return what runs playbooks on the host."""
    return Searched(host, secrets, role)


@pytest.fixture(scope="session")
def reset(play: Searched) -> Searched:
    """Return what runs playbooks on the host when it has an environment and an older ``.env``."""
    if not (play.host.root / "venv").exists():
        (play.host.root / ".env").write_text(f"POSTGRES_PASSWORD={play.secrets['old']}\n")
        done = play("reset", "--tags", "venv")
        assert done.code == 0, done.said[-3000:]
    return play


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the totals as the last line."""
    if FIGURES.runs:
        terminalreporter.write_line(str(FIGURES))
