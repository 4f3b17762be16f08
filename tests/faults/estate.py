"""A project root for fault tests, and checks of its state."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.wheels import Index

DRIVER = Path(__file__).with_name("driver.py")
ARTIFACTS = ["bin", "lib", "lib64", "include", "pyvenv.cfg", "venv"]
RESET = ["clean", "venv", "dotenv", "close"]
NEW_PASSWORD = "new-Pa$s'word"


@dataclass
class Outcome:
    """What the driver printed; ``killed`` if it was killed before."""

    killed: bool
    changed: bool = False
    moved: list[str] = field(default_factory=list)
    report: str = ""
    problem: str | None = None
    points: int = 0
    moves: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Estate:
    """A project root with artifacts, protected paths and foreign settings."""

    def __init__(self, root: Path, index: Index, home: Path | None = None) -> None:
        self.root, self.index = root, index
        self.home = home or root.parent  # uv caches there what it knows about interpreters
        self.params: dict[str, Any] = {
            "root": str(root), "protected": ["src", "docs"], "artifacts": ARTIFACTS, "allow_in_use": False,
            "python": sys.executable, "python_minimum": "3.9", "packages": ["sound"], "index_urls": [index.url()],
            "rebuild": False, "space_mb": 1, "keep": 5, "keep_days": 90, "run": "",
            "connection": {"host": "db", "port": 1, "user": "u", "password": NEW_PASSWORD, "database": "d"},
            "api_keys": {"EODHD_API_TOKEN": "demo"}, "flags": {"DEBUG": False}, "extra": {},
        }  # fmt: skip
        self.old_dotenv = b""

    def pollute(self) -> None:
        """Write the protected paths and the artifacts; an existing venv stays."""
        for folder in ("src/deep", "docs", "bin", "lib/deep", "include"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "src/deep/model.bin").write_bytes(os.urandom(40_000))
        (self.root / "docs/notes.md").write_text("irreplaceable\n")
        (self.root / "bin/deploy.sh").write_text("#!/bin/sh\necho somebody's own\n")
        (self.root / "lib/deep/data").write_bytes(os.urandom(20_000))
        if not os.path.lexists(self.root / "lib64"):
            (self.root / "lib64").symlink_to("lib")
        (self.root / "pyvenv.cfg").write_text("version = 3.6.8\n")
        (self.root / ".env").write_text("# theirs\nAI_PROVIDER=kept\nDEBUG=true\n")
        self.old_dotenv = (self.root / ".env").read_bytes()

    def run(self, stages: list[str], kill_at: int | None = None, **job: Any) -> Outcome:
        """Run stages in one call, in a process group of its own."""
        overrides, python = job.pop("params", {}), job.pop("interpreter", sys.executable)
        prefix = job.pop("prefix", [])
        params = {**self.params, "stages": stages, **overrides}
        text = json.dumps({"params": params, "kill_at": kill_at, **job})
        environ = environment(self.home)
        if python != sys.executable:
            environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # for Ansible's own files
        done = subprocess.run(
            [*prefix, python, str(DRIVER)], input=text, capture_output=True, text=True, timeout=120, check=False,
            start_new_session=True, env=environ,
        )  # fmt: skip
        if done.returncode < 0:
            return Outcome(killed=True)
        assert done.returncode == 0, done.stderr
        return Outcome(killed=False, **json.loads(done.stdout))

    def treasure(self) -> dict[str, tuple[tuple[int, int], int]]:
        """Return identity and bytes of each artifact in the root, except the venv."""
        found = {}
        for name in ARTIFACTS:
            path = self.root / name
            if name != "venv" and os.path.lexists(path):
                found[name] = (_identity(path), _bytes(path))
        return found

    def lost(self, treasure: dict[str, tuple[tuple[int, int], int]]) -> int:
        """Return the bytes of ``treasure`` that are not exactly once in the root or in quarantine."""
        lost = 0
        for name, (identity, size) in treasure.items():
            places = [self.root / name, *(kept / name for kept in self.root.glob(".reset/runs/*/kept"))]
            where = [path for path in places if os.path.lexists(path) and _identity(path) == identity]
            if len(where) != 1 or _bytes(where[0]) != size:
                lost += max(size, 1)
        return lost

    def closed(self, kind: str) -> bool:
        """Return whether the last run is of this kind and closed."""
        manifests = [json.loads(path.read_text()) for path in self.root.glob(".reset/runs/*/manifest.json")]
        last = max(manifests, key=lambda manifest: float(manifest["started"]))
        return (last["kind"], last["state"]) == (kind, "closed")

    def works(self) -> bool:
        """Return whether the venv's python, package and console script work."""
        venv = self.root / "venv"
        commands = [
            [f"{venv}/bin/python", "-c", "import sound"],
            [f"{venv}/bin/sound-hello"],
            ["sh", "-c", f". {venv}/bin/activate && python -c 'import sound'"],
        ]
        return all(_succeeds(command) for command in commands)

    def picture(self) -> dict[str, tuple[int, bytes]]:
        """Return mode and a hash of the content or target of every path outside the private folder."""
        seen = {}
        for folder, folders, files in os.walk(self.root):
            if folder == str(self.root) and ".reset" in folders:
                folders.remove(".reset")
            # ``works`` makes an interpreter write these.
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in folders + files:
                path = Path(folder, name)
                link = path.is_symlink()
                content = (
                    os.fsencode(os.readlink(path)) if link else path.read_bytes() if path.is_file() else b""
                )
                seen[str(path.relative_to(self.root))] = (
                    path.lstat().st_mode,
                    hashlib.sha256(content).digest(),
                )
        return seen

    def protected(self) -> dict[str, tuple[int, bytes]]:
        """Return the picture of the protected paths only."""
        return {
            path: value for path, value in self.picture().items() if path.split("/")[0] in ("src", "docs")
        }

    def remove(self) -> None:
        """Remove the root, for the next case at the same path."""
        shutil.rmtree(self.root, ignore_errors=True)


def environment(home: Path) -> dict[str, str]:
    """Return an environment without this machine's settings, for example for certificates."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull}


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except OSError:
        return False


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _bytes(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(entry.lstat().st_size for entry in path.rglob("*") if not entry.is_dir())
