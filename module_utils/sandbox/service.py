"""What has to be done to the sandbox's PostgreSQL to bring it into a state, and doing it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox import postgres

ATTEMPTS = 5  # at starting on a free port that another server may take first


@dataclass(frozen=True)
class Status:
    """How things are: the folder, the cluster in it, its server, and whether that runs as it is asked to."""

    present: bool
    initialised: bool
    running: bool
    configured: bool


def plan(state: str, status: Status) -> list[str]:
    """Return the steps to ``state`` (started, stopped or absent), in order; none if it holds already."""
    if state == "started":
        if status.running and status.configured:
            return []
        steps = [] if status.initialised else ["initialise"]
        return [*steps, *(["stop"] if status.running else []), "start"]
    steps = ["stop"] if status.running else []
    return [*steps, "remove"] if state == "absent" and status.present else steps


def ensure(
    cluster: postgres.Cluster,
    state: str,
    *,
    port: int,
    user: str,
    password: str,
    settings: Mapping[str, str],
    check: bool,
) -> dict[str, Any]:
    """Bring the cluster into ``state``; with ``check``, only say by which steps.

    Args:
        port: 0 takes a free one at the first start and keeps it as long as it can be had.

    Returns:
        dict: the result of the module ``sandbox_postgres``.

    Raises:
        Problem: the port is taken, the password is another one, or PostgreSQL failed.
    """
    with _reported(cluster):
        process = cluster.process()
        choose = port == 0
        if choose:
            port = _own_port(cluster, process)
        steps = plan(
            state,
            Status(
                present=cluster.folder.exists(),
                initialised=cluster.initialised,
                running=process is not None,
                configured=state == "started" and cluster.configured(port, settings),
            ),
        )
        if "start" in steps and not choose and (process is None or process.port != port):
            # Before anything is built, and in a plan too.
            postgres.require_free_port(port, postgres.loopback_addresses())
        if not check:
            apply: dict[str, Callable[[], object]] = {
                "initialise": lambda: cluster.initialise(user, password),
                "start": lambda: _start(cluster, port, settings, choose),
                "stop": cluster.stop,
                "remove": cluster.remove,
            }
            for step in steps:
                apply[step]()
            process = cluster.process()
            if process is not None:
                cluster.keep_port(process.port)
        if state == "started" and process is not None and (choose or process.port == port):
            _require_login(process.port, user, password)
        return {
            "changed": bool(steps),
            "steps": steps,
            "running": process is not None,
            "pid": process.pid if process else None,
            "port": process.port if process else None,
            "folder": str(cluster.folder),
            "log": str(cluster.log),
        }


def _own_port(cluster: postgres.Cluster, process: postgres.Process | None) -> int:
    """The port that the server has, or had last, or a free one if that cannot be had."""
    if process is not None:
        return process.port
    kept = cluster.kept_port()
    return kept if kept and postgres.is_free(kept) else postgres.free_port()


def _start(cluster: postgres.Cluster, port: int, settings: Mapping[str, str], choose: bool) -> None:
    """Start on ``port``; with ``choose``, on another one if somebody was quicker."""
    for left in range(ATTEMPTS if choose else 1, 0, -1):
        try:
            cluster.start(port, settings)
            return
        except postgres.PortTaken:
            if left == 1:
                raise
            port = postgres.free_port()


@contextlib.contextmanager
def _reported(cluster: postgres.Cluster) -> Iterator[None]:
    """Say whose sandbox it is if it is somebody else's."""
    try:
        yield
    except PermissionError as error:
        raise Problem(
            f"{error.filename or cluster.folder} belongs to another user: run this as the user who made the"
            " sandbox, or remove it as that user with `make sandbox-stop`."
        ) from error


def _require_login(port: int, user: str, password: str) -> None:
    """A cluster keeps the password that it was made with; say so here rather than in every later step."""
    import psycopg2  # only this step needs it

    try:
        with closing(
            psycopg2.connect(
                host="127.0.0.1",
                port=port,
                user=user,
                password=password,
                dbname="postgres",
                connect_timeout=5,
            )
        ):
            pass
    except psycopg2.OperationalError:
        raise Problem(
            "The sandbox's PostgreSQL does not accept postgres_user and postgres_password; it was made with"
            " others. Set them back (group_vars/sandbox/vault.yml), or remove the sandbox with its data by"
            " `make sandbox-stop` and make it again."
        ) from None
