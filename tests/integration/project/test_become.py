"""An ordinary login with sudo resets a root that belongs to somebody else.

The accounts and the sudo rule exist only in the test's own mount namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.estate import Estate
from tests.faults.wheels import Index, index

REPOSITORY = Path(__file__).resolve().parents[3]
LOGIN, OWNER = 42420, 42421
# $1: folder with other account files; the rest: a command for the login.
AS_LOGIN = f"""
folder=$1; shift
for name in passwd group shadow sudoers; do mount --bind "$folder/$name" /etc/$name || exit 97; done
setpriv --reuid {LOGIN} --regid {LOGIN} --clear-groups -- sudo -n true || exit 98
exec setpriv --reuid {LOGIN} --regid {LOGIN} --clear-groups -- "$@"
"""


class Machine:
    """Runs playbooks as the login, whose accounts are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python, self.path = self._python()
        accounts = {"ordinary": LOGIN, "projectowner": OWNER}
        for name, line, mode in (
            ("passwd", "{user}:x:{uid}:{uid}::{home}:/bin/sh\n", 0o644),
            ("group", "{user}:x:{uid}:\n", 0o644),
            ("shadow", "{user}:*:19000:0:99999:7:::\n", 0o640),
        ):
            text = Path("/etc", name).read_text()
            for user, uid in accounts.items():
                text += line.format(user=user, uid=uid, home=folder / user)
            (folder / name).write_text(text)
            (folder / name).chmod(mode)
        (folder / "sudoers").write_text("root ALL=(ALL) ALL\nordinary ALL=(ALL:ALL) NOPASSWD: ALL\n")
        (folder / "sudoers").chmod(0o440)
        for user, uid in accounts.items():
            (folder / user / ".local/bin").mkdir(parents=True)
            (folder / user / ".local/bin/uv").symlink_to(Path(sys.executable).parent / "uv")
            subprocess.run(["chown", "-hR", f"{uid}:{uid}", folder / user], check=True)

    def _python(self) -> tuple[str, str]:
        """Return an interpreter that the login may run, and the folder of Ansible for it."""
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        for python in (sys.executable, "/usr/bin/python3"):
            command = [python, "-c", "import ansible.release, cryptography, yaml._yaml, venv, ensurepip"]
            environ = {"PYTHONPATH": packages}
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                subprocess.run(command, user=LOGIN, cwd="/", env=environ, capture_output=True, check=True)
                return python, packages
        pytest.skip("no interpreter outside of closed folders that runs Ansible")

    def play(self, estate: Estate, name: str, become_user: str) -> str:
        """Run a playbook on the root; return its output."""
        params = estate.params
        variables: dict[str, Any] = {
            "project_root": str(estate.root), "project_protected": params["protected"], "project_space_mb": 1,
            "project_packages": params["packages"], "project_index_urls": params["index_urls"],
            "project_python": self.python, "postgres_password": "invented", "eodhd_api_token": "invented",
            "ansible_become": True, "ansible_become_user": become_user, "ansible_pipelining": True,
        }  # fmt: skip
        command = [
            self.python, "-m", "ansible", "playbook", f"playbooks/{name}.yml", "-i", "host,", "-c", "local",
            "-e", json.dumps(variables), *(["--skip-tags", "database,health"] if name == "reset" else []),
        ]  # fmt: skip
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder / "ordinary"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", AS_LOGIN, "sh", str(self.folder), *command],
            cwd=REPOSITORY, env={**environ, "PYTHONPATH": self.path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, check=False, timeout=110,
        )  # fmt: skip
        if done.returncode in (97, 98):
            pytest.skip(f"no namespace of its own, or no sudo there: {done.stderr.strip()}")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with index(tmp_path_factory.mktemp("wheels")) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("sudo", "unshare", "setpriv"))):
        pytest.skip("needs root, sudo, unshare and setpriv")
    folder = Path("/var/tmp") / f"{tmp_path.name}-{os.getpid()}"  # noqa: S108 - others may enter it
    folder.mkdir(mode=0o755)
    try:
        yield Machine(folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("become_user", ["root", "projectowner"])
def test_login_with_sudo_resets_and_restores_the_root_of_another_owner(
    machine: Machine, wheels: Index, become_user: str
) -> None:
    estate = Estate(machine.folder / "project", wheels)
    estate.pollute()
    subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", str(estate.root)], check=True)
    before, treasure = estate.picture(), estate.treasure()
    said = machine.play(estate, "reset", become_user)
    assert "moved away" in said
    assert estate.works()
    assert estate.lost(treasure) == 0
    assert {path.lstat().st_uid for path in estate.root.rglob("*")} == {OWNER}
    machine.play(estate, "restore", become_user)
    assert estate.picture() == before
