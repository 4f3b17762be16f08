"""Makes ``library/`` and ``module_utils/`` importable as Ansible sees them; lends out a PostgreSQL of any layout."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "library"), str(ROOT / "tests")]
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from tests import engines
from tests.engines import Database

# `make faults`: every case instead of some.
FULL = os.environ.get("FAULTS") == "full"

# A PostgreSQL's, with room to spare for those of the other processes.
ROOM = 4 << 30


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that others may enter: in memory, where the machine has room for files there."""
    shared = Path("/dev/shm")  # noqa: S108
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > ROOM
    with tempfile.TemporaryDirectory(
        prefix="pytest-", dir=shared if roomy else tmp_path_factory.getbasetemp()
    ) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_server(memory: Path) -> Iterator[Database]:
    """One PostgreSQL for the whole session, of the engine that the layout needs."""
    with engines.serving(memory / "postgres") as server:
        yield server


@pytest.fixture
def database(postgres_server: Database) -> Iterator[Database]:
    """A fresh, empty database, dropped afterwards whoever is still connected."""
    fresh = engines.create_database(postgres_server, f"test_{uuid.uuid4().hex[:12]}")
    yield fresh
    engines.drop_database(postgres_server, fresh.database)
