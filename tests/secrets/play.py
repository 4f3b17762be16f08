"""Run a playbook, and collect what it leaves on every channel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.secrets.search import FORMS, hits, traces
from tests.secrets.watch import Watch

REPOSITORY = Path(__file__).resolve().parents[2]
CHANNELS = ("stdout", "stderr", "log", "junit", "system log", "files", "process table", "environments")
# Folders in which programs may write besides those that they are given.
SHARED = [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), REPOSITORY]  # noqa: S108


@dataclass
class Outcome:
    """The result of a run: exit code, text by channel, mode by file."""

    code: int
    channels: dict[str, str]
    modes: dict[str, int]

    @property
    def said(self) -> str:
        """What the user reads, on one line."""
        return " ".join((self.channels["stdout"] + self.channels["stderr"]).split())

    @property
    def failures(self) -> dict[str, str]:
        """The output of each failed host, by name."""
        parts = re.split(r"\[(\w+)\]: FAILED", self.said)[1:]
        return dict(zip(parts[::2], parts[1::2]))


class Host:
    """A project root on this machine, with its own home and its own folder for temporary files."""

    def __init__(self, folder: Path, secrets: Mapping[str, str]) -> None:
        self.folder = folder
        self._traces = traces(secrets)
        self.root = folder / "project"
        self.roots = [self.root]  # tests add those of more hosts
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        self.evidence = folder / "evidence"
        # On, unlike in the project's ansible.cfg, because the modules themselves must log no secret.
        self.system_log = True
        # Given to Ansible as a file, like a vault; no run creates it.
        self.variables = folder / "variables.json"
        for path in (self.home, self.temporary, self.evidence, self.root / "src"):
            path.mkdir(parents=True)

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Outcome:
        """Run ``playbooks/<playbook>.yml`` with these variables and all output enabled."""
        self.variables.touch(mode=0o600)
        self.variables.write_text(json.dumps(self.values(**variables)))
        return self.playbook(playbook, "-e", f"@{self.variables}", *arguments)

    def playbook(self, name: str, *arguments: str) -> Outcome:
        """Run a playbook."""
        command = [str(Path(sys.executable).parent / "ansible-playbook"), f"playbooks/{name}.yml"]
        return self.run([*command, "-vvv", *arguments])

    def values(self, **variables: Any) -> dict[str, Any]:
        """Return the settings of the host, with more added."""
        return {
            "project_root": str(self.root),
            "project_protected": ["src"],
            "project_space_mb": 1,
            # Ansible takes the home from the user database.
            "ansible_remote_tmp": str(self.home / "ansible"),
            **variables,
        }

    def run(self, arguments: list[str], **environment: str) -> Outcome:
        """Run a program with this environment's Python."""
        for name in ("ansible.log", "syslog"):
            (self.evidence / name).unlink(missing_ok=True)
        for old in self.evidence.glob("junit/*"):
            old.unlink()
        before = {path for folder in SHARED for path in folder.iterdir()}
        begun = time.time() - 0.01  # file systems have coarse clocks
        with Watch() as watch:
            done = subprocess.run(
                [sys.executable, *arguments], cwd=REPOSITORY, env=self._environment() | environment,
                capture_output=True, text=True, timeout=100, check=False,
            )  # fmt: skip
        new = [path for folder in SHARED for path in folder.iterdir() if path not in before]
        made = dict(self._made([self.home, self.temporary, *self.roots, *new], begun))
        return Outcome(
            done.returncode,
            {
                "stdout": done.stdout,
                "stderr": done.stderr,
                "log": self._evidence("ansible.log"),
                "junit": "".join(path.read_text() for path in self.evidence.glob("junit/*.xml")),
                "system log": self._evidence("syslog"),
                "files": "".join(f"{path}\n{text}\n" for path, text in made.items() if not self.may_hold(path)),
                "process table": "\n".join(sorted(watch.commands)),
                "environments": "\n".join(sorted(watch.environments)),
            },
            {str(path.relative_to(self.folder)): path.lstat().st_mode & 0o777
             for path in made if path.is_relative_to(self.folder)},
        )  # fmt: skip

    def may_hold(self, path: Path) -> bool:
        """Return whether a file may hold secrets: ``.env``, and its older versions in quarantine."""
        return path.name == ".env" and any(
            path.parent == root or path.is_relative_to(root / ".reset/runs") for root in self.roots
        )

    def _environment(self) -> dict[str, str]:
        own_index = {key: os.environ[key] for key in os.environ if key.startswith(("PIP_", "UV_", "SSL_"))}
        return {
            **own_index,
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(Path(__file__).with_name("recorder")),
            **({"ANSIBLE_NO_TARGET_SYSLOG": "False"} if self.system_log else {}),
            "SECRETS_SYSLOG": str(self.evidence / "syslog"),
            "ANSIBLE_LOG_PATH": str(self.evidence / "ansible.log"),
            "ANSIBLE_CALLBACKS_ENABLED": "report,junit",
            "JUNIT_OUTPUT_DIR": str(self.evidence / "junit"),
        }

    def _evidence(self, name: str) -> str:
        path = self.evidence / name
        return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""

    def _made(self, folders: list[Path], since: float) -> Iterator[tuple[Path, str]]:
        for folder in folders:
            # Unlike rglob, walk tolerates folders that disappear, such as those of another test's database.
            for path in [folder, *(Path(top, name) for top, _, names in os.walk(folder) for name in names)]:
                try:
                    if path.is_symlink() or not path.is_file() or path.stat().st_ctime < since:
                        continue
                    data = path.read_bytes()
                except OSError:
                    continue  # another program has removed it
                # Programs and libraries are large, so those without a trace are not searched further.
                clean = b"\0" in data and not any(trace in data for trace in self._traces)
                yield path, "" if clean else data.decode("utf-8", "surrogateescape")


@dataclass
class Figures:
    """Totals of the session."""

    runs: int = 0
    secrets: int = 0
    hits: int = 0

    def leaks(self, outcome: Outcome, secrets: Mapping[str, str], environments: frozenset[str]) -> list[str]:
        """Return the leaks of a run; secrets named in ``environments`` may occur in the environment of a process."""
        everywhere = {channel: outcome.channels[channel] for channel in CHANNELS if channel != "environments"}
        found = hits(everywhere, secrets)
        found += hits(
            {"environments": outcome.channels["environments"]},
            {name: secret for name, secret in secrets.items() if name not in environments},
        )
        self.runs += 1
        self.secrets = max(self.secrets, len(secrets))
        self.hits += len(found)
        return found

    def __str__(self) -> str:
        size = f"{len(CHANNELS)} channels x {self.secrets} secrets x {len(FORMS)} forms"
        return f"secrets: {size} in {self.runs} runs: {self.hits} hits"


FIGURES = Figures()
