"""A folder of answers that the service really gave, replayed over real sockets.

``make recorded DIR=…`` names the folder: one folder an answer with ``body.gz`` and ``meta.json``, and ``replay.py``
that serves them. Nothing of it is in this project; what a test expects it reads from the recording.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.eodhd import backfill
from ansible.module_utils.eodhd.model import Request
from ansible.module_utils.reporting import Problem
from standin import clock

from tests import engines

if TYPE_CHECKING:
    from tests.engines import Database

FOLDER = os.environ.get("RECORDED", "")


def found(path: str, status: int = 200) -> list[str]:
    """Return the names of the recordings of a path, sorted; the test is skipped if there is none."""
    if not FOLDER:
        pytest.skip("no folder of recordings: make recorded DIR=…")
    names = []
    for meta in sorted(Path(FOLDER).glob("*/meta.json")):
        facts = json.loads(meta.read_text())
        plain = facts["query"].get("fmt") != "csv" and "type" not in facts["query"]
        if facts["path"].strip("/").startswith(path) and facts["status"] == status and plain:
            names.append(meta.parent.name)
    if not names:
        pytest.skip(f"no recording of {path} with status {status}")
    return names


def meta(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((Path(FOLDER) / name / "meta.json").read_text())
    return facts


def body(name: str) -> Any:
    return json.loads(gzip.open(Path(FOLDER) / name / "body.gz").read())


@dataclass
class Service:
    """The replayed service and a database; ``load`` runs the backfill on them."""

    server: Database
    url: str = ""

    def load(self, now: datetime | None = None, **options: Any) -> dict[str, Any]:
        given = {"mode": "history", "base_url": self.url, "token": "invented", "spool": None, **options}
        try:
            result: dict[str, Any] = backfill.run(Request(server=self.server, **given), clock.showing(now))
        except Problem as problem:
            return {**problem.details, "problem": str(problem)}
        return result

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(self.server.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def replay(database: Database) -> Iterator[Callable[..., Service]]:
    """Return what serves recordings by path: ``replay({"eod/AAPL.US": ["name"]})``."""
    if not FOLDER:
        pytest.skip("no folder of recordings: make recorded DIR=…")
    spec = importlib.util.spec_from_file_location("replay", Path(FOLDER) / "replay.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    servers = []
    engines.create_tables(database)

    def start(answers: dict[str, list[str]]) -> Service:
        server = module.serve(0, answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Service(database, f"http://127.0.0.1:{server.server_address[1]}/api")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
