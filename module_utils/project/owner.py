"""Run programs as the owner of the root: their files belong to the owner, and root runs no foreign code."""

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
        """Run a program; return its exit code, standard output and standard error.

        ``env`` changes the environment; None unsets a variable. ``text`` is the program's input. The exit code is
        127 if it cannot be started, and 124 if it is killed after ``seconds``.
        """
        become: dict[str, Any] = {}
        if os.geteuid() == 0 and self.uid != 0:
            become = {"user": self.uid, "group": self.gid, "extra_groups": []}
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))
        }
        changed = {**inherited, **(env or {}), "HOME": self.home}
        if not self._has_home():
            changed.update(UV_NO_CACHE="1", PIP_NO_CACHE_DIR="1")
        environ = {key: value for key, value in changed.items() if value is not None}
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

    def _has_home(self) -> bool:
        # For caches. Service accounts often have none.
        try:
            return os.stat(self.home).st_uid == self.uid
        except OSError:
            return False

    def pip_settings(self) -> dict[str, str]:
        """Return the settings of this user's pip."""
        # Imported here: a host whose environment is as asked does not need it.
        from ansible.module_utils.project import indexes

        return indexes.pip_settings(indexes.pip_files(self.home, os.environ), os.environ)


def find_uv(owner: Owner, tools: Directory, python: str, index: Mapping[str, str | None]) -> str | None:
    """Return the path of the host's uv, or of one that pip installs into ``tools``; None if neither works.

    ``python`` creates the environment in ``tools``. ``index`` holds pip's variables, see ``indexes.environment``.
    """
    places = [
        os.environ.get("PATH", os.defpath),
        os.path.dirname(sys.executable),
        f"{owner.home}/.local/bin",
        f"{owner.home}/.cargo/bin",
    ]
    known = shutil.which("uv", path=os.pathsep.join([*places, f"{tools.path}/bin"]))
    if known and owner.run([known, "--version"])[0] == 0:
        return known
    for command in (
        [python, "-m", "venv", "--clear", tools.path],
        [f"{tools.path}/bin/python", "-m", "pip", "install", "--quiet", "uv"],
    ):
        if owner.run(command, env=index, seconds=STEP_SECONDS)[0]:
            return None
    return f"{tools.path}/bin/uv"
