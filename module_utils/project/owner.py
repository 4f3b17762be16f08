"""Programs run as the owner of the root, so that what they make belongs to the owner and root runs no foreign code."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.venv import STEP_SECONDS


class Owner:
    """The user who owns a root."""

    def __init__(self, root: Directory) -> None:
        found = os.fstat(root.fd)
        self.uid, self.gid = found.st_uid, found.st_gid
        try:
            self.home = pwd.getpwuid(self.uid).pw_dir
        except KeyError:
            self.home = "/"
        if self.uid == os.geteuid():
            self.home = os.environ.get("HOME", self.home)
        self._cwd = root.path

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        text: str = "",
        seconds: float = 60.0,
    ) -> tuple[int, str, str]:
        """Run a program to its end: exit code, standard output, standard error.

        Args:
            argv: the program and its arguments. One that cannot be started has code 127.
            env: changes of the environment; None takes a name out.
            text: its standard input.
            seconds: until it is killed, with code 124.
        """
        become: dict[str, Any] = {}
        if os.geteuid() == 0 and self.uid != 0:
            become = {"user": self.uid, "group": self.gid, "extra_groups": []}
        environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))
        }
        own = {
            "HOME": self.home,
            **({} if self._at_home() else {"UV_NO_CACHE": "1", "PIP_NO_CACHE_DIR": "1"}),
        }
        for key, value in {**(env or {}), **own}.items():
            if value is None:
                environ.pop(key, None)
            else:
                environ[key] = value
        try:
            done = subprocess.run(
                argv, env=environ, input=text, capture_output=True, text=True, errors="replace", timeout=seconds,
                check=False, cwd=self._cwd, **become,
            )  # fmt: skip
        except OSError as error:
            return 127, "", f"{argv[0]}: {error.strerror}"
        except subprocess.TimeoutExpired:
            return 124, "", f"{os.path.basename(argv[0])} took longer than {seconds:.0f} s"
        return done.returncode, done.stdout, done.stderr

    def _at_home(self) -> bool:
        """Whether the user has a home to keep a cache in; the accounts of services often have none."""
        try:
            return os.stat(self.home).st_uid == self.uid
        except OSError:
            return False

    def pip_settings(self) -> dict[str, str]:
        """What pip is configured with for this user."""
        # Here, for a host whose environment is as asked needs no index.
        from ansible.module_utils.project import indexes

        return indexes.pip_settings(indexes.pip_files(self.home, os.environ), os.environ)


def find_uv(owner: Owner, tools: Directory, python: str, index: Mapping[str, str | None]) -> str | None:
    """uv as the host has it, or got once from an index into ``tools``; None if neither works.

    Args:
        owner: who runs it.
        tools: a folder of the owner's, for an environment with uv in it.
        python: the interpreter for that one.
        index: environment for pip, see ``indexes.environment``.
    """
    places = [
        os.path.dirname(sys.executable),
        f"{owner.home}/.local/bin",
        f"{owner.home}/.cargo/bin",
        f"{tools.path}/bin",
    ]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *places])
    known = shutil.which("uv", path=path)
    if known and owner.run([known, "--version"])[0] == 0:
        return known
    for command in (
        [python, "-m", "venv", "--clear", tools.path],
        [f"{tools.path}/bin/python", "-m", "pip", "install", "--quiet", "uv"],
    ):
        if owner.run(command, env=index, seconds=STEP_SECONDS)[0]:
            return None
    return f"{tools.path}/bin/uv"
