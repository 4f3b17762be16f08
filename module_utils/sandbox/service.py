"""What has to be done to bring the sandbox into a state, its project and its PostgreSQL, and doing it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox import postgres, project

ATTEMPTS = 5  # at starting on a free port that another server may take first


def ensure(
    *, state: str, folder: Path, root: Path, pollute_again: bool, host: str, check: bool, **database: Any
) -> dict[str, Any]:
    """Bring the sandbox into ``state``; with ``check``, only say by which steps.

    ``host`` is that of the database as the project is told it; for ``database``, see ``run``. Returns the result of
    the module ``sandbox``; raises Problem if the database is to be on another machine, and what the two raise.
    """
    if host not in ("localhost", "127.0.0.1", "::1"):
        raise Problem(
            f"The sandbox's PostgreSQL listens on loopback only, but postgres_host is {host}. Leave postgres_host at"
            " localhost for the sandbox; real hosts belong in an inventory of their own."
        )
    cluster = postgres.Cluster(folder / "postgres")
    if state == "absent":
        steps, process = run(cluster, state, check=check, **database)
        step = project.ensure(folder, root, state, pollute_again=False, check=check)
        report = f"🧪 {folder} is gone, and nothing of it is running"
    else:
        step = project.ensure(folder, root, state, pollute_again=pollute_again, check=check)
        steps, process = run(cluster, state, check=check, **database)
        place = f"{host}:{process.port} (log: {cluster.log})" if process else "not started"
        report = (
            f"🧪 Project:    {root}\n   PostgreSQL: {place}\n"
            "   Mess again: ansible-playbook playbooks/sandbox.yml -e sandbox_repollute=true\n"
            f"   Stop:       make sandbox-stop (removes {folder})"
        )
    done = [*([] if step == "nothing" else [step]), *steps]
    return {"changed": bool(done), "steps": done, "report": report}


def plan(state: str, *, present: bool, initialised: bool, running: bool, configured: bool) -> list[str]:
    """Return the steps of PostgreSQL to ``state``, in order; none if it holds already.

    It is now: ``present``, its folder is there; ``initialised``, a cluster is in it; ``running``, with a server;
    ``configured``, which was started as it is asked to run.
    """
    stop = ["stop"] if running else []
    if state == "absent":
        return [*stop, *(["remove"] if present else [])]
    if running and configured:
        return []
    return [*([] if initialised else ["initialise"]), *stop, "start"]


def run(
    cluster: postgres.Cluster, state: str, *, port: int | None, user: str, password: str | None, check: bool
) -> tuple[list[str], postgres.Process | None]:
    """Bring PostgreSQL into ``state``: the steps, and the server that runs then.

    A port of 0 takes a free one at the first start, and keeps it as long as it can be had. Raises Problem if the port
    is taken, the password is another one, or PostgreSQL failed.
    """
    with _reported(cluster):
        process = cluster.process()
        number = port or _own_port(cluster, process)
        steps = plan(
            state,
            present=cluster.folder.exists(),
            initialised=cluster.initialised,
            running=process is not None,
            configured=state == "present" and cluster.configured(number),
        )
        if "start" in steps and port and (process is None or process.port != port):
            postgres.require_free_port(port)  # before anything is built, and in a plan too
        if not check:
            apply: dict[str, Callable[[], object]] = {
                "initialise": lambda: cluster.initialise(user, password or ""),
                "start": lambda: _start(cluster, number, 1 if port else ATTEMPTS),
                "stop": cluster.stop,
                "remove": cluster.remove,
            }
            for step in steps:
                apply[step]()
            process = cluster.process()
            if process is not None:
                cluster.keep_port(process.port)
        if state == "present" and process is not None and port in (None, 0, process.port):
            _require_login(process.port, user, password or "")
        return steps, process


def _own_port(cluster: postgres.Cluster, process: postgres.Process | None) -> int:
    """The port that the server has, or had last, or a free one if that cannot be had."""
    if process is not None:
        return process.port
    kept = cluster.kept_port()
    return kept if kept and postgres.is_free(kept) else postgres.free_port()


def _start(cluster: postgres.Cluster, port: int, attempts: int) -> None:
    try:
        cluster.start(port)
    except postgres.PortTaken:  # somebody was quicker
        if attempts == 1:
            raise
        _start(cluster, postgres.free_port(), attempts - 1)


@contextlib.contextmanager
def _reported(cluster: postgres.Cluster) -> Iterator[None]:
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
        psycopg2.connect(
            host="127.0.0.1", port=port, user=user, password=password, dbname="postgres", connect_timeout=5
        ).close()
    except psycopg2.OperationalError:
        raise Problem(
            "The sandbox's PostgreSQL does not accept postgres_user and postgres_password; it was made with"
            " others. Set them back (group_vars/sandbox/vault.yml), or remove the sandbox with its data by"
            " `make sandbox-stop` and make it again."
        ) from None
