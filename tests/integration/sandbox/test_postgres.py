"""The real embedded PostgreSQL."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg2
import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox import postgres

if TYPE_CHECKING:
    from tests.engines import Database


def processes_in(folder: Path) -> list[str]:
    """Return the processes whose working directory is in a folder, like those of a server in its data directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd").startswith(str(folder)):
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[postgres.Cluster]:
    made = postgres.Cluster(tmp_path / "cluster")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def _initialised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Cluster]:
    made = postgres.Cluster(tmp_path_factory.mktemp("initialised") / "cluster")
    made.initialise("postgres", "secret")
    yield made
    made.remove()


@pytest.fixture
def initialised(_initialised: postgres.Cluster) -> Iterator[postgres.Cluster]:
    """The cluster of this file; it does not run."""
    yield _initialised
    _initialised.stop()


def test_start_and_stop_leave_nothing_behind(initialised: postgres.Cluster) -> None:
    cluster, port = initialised, postgres.free_port()
    assert cluster.folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in cluster.folder.iterdir()) == ["data"]

    process = cluster.start(port)
    assert process.port == port
    assert cluster.process() == process
    assert processes_in(cluster.folder)
    assert not list(cluster.data.glob(".s.PGSQL*"))

    assert cluster.stop()
    assert cluster.process() is None
    assert processes_in(cluster.folder) == []
    assert not cluster.stop()


def test_the_password_is_asked_for_on_every_address(database: Database) -> None:
    for address in postgres.loopback_addresses():
        for password in ("wrong", "", database.password.upper()):
            with pytest.raises(psycopg2.OperationalError, match="password"):
                replace(database, host=address, password=password).connect()


def test_the_server_is_utf8_scram_and_on_loopback_only(database: Database) -> None:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        names = ("server_encoding", "password_encryption", "listen_addresses", "unix_socket_directories")
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(names),))
        settings = dict(cursor.fetchall())
    assert settings == {
        "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
        "listen_addresses": ",".join(postgres.loopback_addresses()),
        "unix_socket_directories": "",
    }


def test_a_database_is_fresh_for_every_test(database: Database) -> None:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert cursor.fetchone() == (0,)


def test_a_taken_port_is_named_with_the_variable(initialised: postgres.Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Problem) as caught:
            initialised.start(port)
    assert f"Port {port}" in str(caught.value)
    assert "sandbox_port" in str(caught.value)
    assert initialised.process() is None


def test_a_setting_that_postgresql_refuses_is_shown_from_its_log(initialised: postgres.Cluster) -> None:
    with pytest.raises(Problem, match="no_such_setting"):
        initialised.start(postgres.free_port(), {"no_such_setting": "1"})
    assert processes_in(initialised.folder) == []


def test_the_id_of_another_process_is_neither_ended_nor_in_the_way(initialised: postgres.Cluster) -> None:
    stale = f"{os.getpid()}\n{initialised.data}\n0\n{postgres.free_port()}\n"
    (initialised.data / "postmaster.pid").write_text(stale, encoding="utf-8")
    assert initialised.process() is None
    assert not initialised.stop()
    initialised.start(postgres.free_port())


def test_a_folder_with_other_things_is_neither_taken_nor_removed(cluster: postgres.Cluster) -> None:
    cluster.folder.mkdir()
    mine = cluster.folder / "thesis.txt"
    mine.touch()
    for act in (cluster.remove, lambda: cluster.initialise("postgres", "secret")):
        with pytest.raises(Problem, match=r"thesis\.txt"):
            act()
    assert list(cluster.folder.iterdir()) == [mine]
    mine.unlink()


def test_where_nobody_can_run_it_the_message_says_what_to_do(
    cluster: postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopeless = [postgres.Way((name,), os.geteuid(), os.getegid()) for name in ("false", "no-such-tool")]
    monkeypatch.setattr(postgres, "ways", lambda *_: hopeless)
    with pytest.raises(Problem, match=r"no-such-tool.*refuses to run as root. Clone"):
        cluster.initialise("postgres", "secret")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_root_may_use_a_closed_and_an_open_folder(mode: int) -> None:
    # Not under tmp_path, which only root may enter.
    with TemporaryDirectory(dir="/tmp") as name:  # noqa: S108 - the folder itself has a name of its own
        parent = Path(name)
        parent.chmod(mode)
        cluster = postgres.Cluster(parent / "cluster")
        try:
            cluster.initialise("postgres", "secret")
            process = cluster.start(postgres.free_port())
            assert cluster.process() == process
        finally:
            cluster.remove()
        assert list(parent.iterdir()) == []
