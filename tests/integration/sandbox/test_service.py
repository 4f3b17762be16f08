"""The steps of a sandbox, and the choice of a port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox import postgres, service


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[postgres.Cluster]:
    made = postgres.Cluster(tmp_path / "cluster")
    yield made
    made.remove()


def started(cluster: postgres.Cluster, port: int = 0) -> tuple[list[str], int]:
    """Start the cluster; return the steps, and the port of the server."""
    login: dict[str, Any] = {"user": "postgres", "password": "secret"}
    steps, process = service.run(cluster, "present", port=port, check=False, **login)
    assert process
    return steps, process.port


def test_the_chosen_port_outlives_a_stop_and_gives_way_where_it_has_to(cluster: postgres.Cluster) -> None:
    _, port = started(cluster)
    cluster.stop()
    assert started(cluster) == (["start"], port)
    assert started(cluster) == ([], port)
    assert cluster.kept_port() == port

    # If another server has the port, a free one is chosen.
    cluster.stop()
    with socket.create_server(("127.0.0.1", port)):
        _, other = started(cluster)
    assert other != port
    assert cluster.kept_port() == other

    asked = postgres.free_port()
    assert started(cluster, asked)[1] == asked
    found = cluster.process()
    assert found
    assert found.port == asked


def test_who_loses_the_race_for_a_port_takes_another_one(
    cluster: postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = postgres.free_port()
    with socket.create_server(("127.0.0.1", 0)) as winner:
        chosen = iter([winner.getsockname()[1], free])
        monkeypatch.setattr(postgres, "free_port", lambda: next(chosen))
        assert started(cluster)[1] == free


def test_a_port_that_was_asked_for_is_not_exchanged(cluster: postgres.Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(Problem, match="is not available"):
        started(cluster, port=other.getsockname()[1])
    assert cluster.process() is None


def ensure(folder: Path, state: str = "present", check: bool = False, **changed: Any) -> list[str]:
    """Set up or remove the whole sandbox; return its steps."""
    login = {"user": "postgres", "password": "secret", "port": 0, "host": "localhost"}
    given = {**login, "pollute_again": False, **changed}
    found = service.ensure(state=state, folder=folder, root=folder / "project", check=check, **given)
    assert found["changed"] == bool(found["steps"])
    return list(found["steps"])


def test_a_sandbox_that_is_there_stays_until_it_is_polluted_again_or_taken_down(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    try:
        assert ensure(folder) == ["project", "initialise", "start"]
        assert ensure(folder, check=True) == []
        assert ensure(folder, pollute_again=True) == ["mess"]
        assert ensure(folder, "absent") == ["remove", "stop", "remove"]
        assert ensure(folder, "absent") == []
        assert not folder.exists()
    finally:
        postgres.Cluster(folder / "postgres").remove()


def test_two_sandboxes_at_once_choose_their_ports(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    try:
        with ThreadPoolExecutor() as pool:
            for steps in pool.map(ensure, folders):
                assert steps == ["project", "initialise", "start"]
        one, other = (postgres.Cluster(folder / "postgres").kept_port() for folder in folders)
        assert one != other
    finally:
        for folder in folders:
            postgres.Cluster(folder / "postgres").remove()


def test_a_taken_port_is_said_in_the_plan_already(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = f"Port {port} on 127.0.0.1 is not available .*in use.*sandbox_port"
        with pytest.raises(Problem, match=message):
            ensure(tmp_path / "sandbox", check=True, port=port)


def test_a_database_on_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="postgres_host"):
        ensure(tmp_path / "sandbox", host="hub.example.com")
    assert not (tmp_path / "sandbox").exists()
