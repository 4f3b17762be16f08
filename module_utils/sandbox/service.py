"""Set up or remove the sandbox: its project and its PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox import postgres, project

ATTEMPTS = 5  # to start on a free port, which another server may take first


def ensure(
    *, state: str, folder: Path, root: Path, pollute_again: bool, host: str, check: bool, **database: Any
) -> dict[str, Any]:
    """Bring the sandbox into ``state`` unless ``check`` is set; return the result of the module ``sandbox``.

    ``host`` is the ``postgres_host`` of the project; Problem if it is another machine. For ``database``, see ``run``.
    """
    if host not in ("localhost", "127.0.0.1", "::1"):
        raise Problem(
            f"The sandbox's PostgreSQL listens only on loopback, but postgres_host is {host}. Set postgres_host to"
            " localhost for the sandbox. Real hosts belong in their own inventory."
        )
    cluster = postgres.Cluster(folder / "postgres")
    if state == "absent":
        steps, process = run(cluster, state, check=check, **database)
        step = project.ensure(folder, root, state, pollute_again=False, check=check)
        report = f"🧪 {folder} is removed, and no process of it runs"
    else:
        step = project.ensure(folder, root, state, pollute_again=pollute_again, check=check)
        steps, process = run(cluster, state, check=check, **database)
        place = f"{host}:{process.port} (log: {cluster.log})" if process else "not started"
        report = (
            f"🧪 Project:    {root}\n   PostgreSQL: {place}\n"
            "   Pollute:    ansible-playbook playbooks/sandbox.yml -e sandbox_repollute=true\n"
            f"   Stop:       make sandbox-stop (removes {folder})"
        )
    done = [*([] if step == "nothing" else [step]), *steps]
    return {"changed": bool(done), "steps": done, "report": report}


def plan(state: str, *, present: bool, initialised: bool, running: bool, configured: bool) -> list[str]:
    """Return the steps that bring PostgreSQL to ``state``, in order.

    ``present``: its folder exists; ``initialised``: the folder has a cluster; ``running``: its server runs;
    ``configured``: the last start had the settings that are asked for.
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
    """Bring PostgreSQL into ``state`` unless ``check`` is set; return the steps, and the running server.

    Port 0 chooses a free port at the first start, and keeps it while it is available. Raises Problem if the port is
    taken, the password is wrong, or PostgreSQL fails.
    """
    try:
        process = cluster.process()
        number = port or (process.port if process else cluster.next_port())
        steps = plan(
            state,
            present=cluster.folder.exists(),
            initialised=cluster.data.exists(),
            running=process is not None,
            configured=state == "present" and cluster.configured(number),
        )
        if "start" in steps and port and (process is None or process.port != port):
            postgres.require_free_port(port)  # before the first step, and in check mode too
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
    except PermissionError as error:
        raise Problem(
            f"{error.filename or cluster.folder} belongs to another user. Run this as the user who created the"
            " sandbox, or remove it as that user with `make sandbox-stop`."
        ) from error
    return steps, process


def _start(cluster: postgres.Cluster, port: int, attempts: int) -> None:
    try:
        cluster.start(port)
    except postgres.PortTaken:  # another server was faster
        if attempts == 1:
            raise
        _start(cluster, postgres.free_port(), attempts - 1)


def _require_login(port: int, user: str, password: str) -> None:
    """Raise Problem if the cluster was created with another user or password."""
    import psycopg2  # only this step needs it

    try:
        psycopg2.connect(
            host="127.0.0.1", port=port, user=user, password=password, dbname="postgres", connect_timeout=5
        ).close()
    except psycopg2.OperationalError:
        raise Problem(
            "The sandbox's PostgreSQL does not accept postgres_user and postgres_password, because it was created with"
            " others. Set them back (group_vars/sandbox/vault.yml), or remove the sandbox with its data by"
            " `make sandbox-stop`, and create it again."
        ) from None
