"""A server that chooses its port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
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
    """The steps that it took, and the port of the server."""
    login: dict[str, Any] = {"user": "postgres", "password": "secret", "settings": {"fsync": "off"}}
    steps, process = service.run(cluster, "present", port=port, check=False, **login)
    assert process
    return steps, process.port


def test_the_chosen_port_outlives_a_stop(cluster: postgres.Cluster) -> None:
    _, port = started(cluster)
    cluster.stop()
    assert started(cluster) == (["start"], port)
    assert started(cluster) == ([], port)
    assert cluster.kept_port() == port


def test_a_kept_port_that_another_server_has_gives_way_to_a_free_one(cluster: postgres.Cluster) -> None:
    _, port = started(cluster)
    cluster.stop()
    with socket.create_server(("127.0.0.1", port)):
        _, other = started(cluster)
    assert other != port
    assert cluster.kept_port() == other


def test_who_loses_the_race_for_a_port_takes_another_one(
    cluster: postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = postgres.free_port()
    with socket.create_server(("127.0.0.1", 0)) as winner:
        chosen = iter([winner.getsockname()[1], free])
        monkeypatch.setattr(postgres, "free_port", lambda: next(chosen))
        assert started(cluster)[1] == free


def test_a_port_that_was_asked_for_is_not_exchanged(cluster: postgres.Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(Problem, match="already taken"):
        started(cluster, port=other.getsockname()[1])
    assert cluster.process() is None
