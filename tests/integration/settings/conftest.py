"""An inventory in an empty folder elsewhere, as a user would write it, and the playbooks run from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}

SECRETS = {"vault_postgres_password": "p", "vault_eodhd_api_token": "demo"}


@dataclass
class Place:
    """A folder with an inventory; ``inventory`` is what it says."""

    folder: Path
    inventory: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, form: str = "static") -> Path:
        """The inventory as a ``static`` file or as an ``executable`` that prints it."""
        path = self.folder / ("hosts.yml" if form == "static" else "hosts")
        text = json.dumps(self.inventory)
        if form == "executable":
            text = f"#!/bin/sh\ncat <<'END'\n{json.dumps(dynamic(self.inventory))}\nEND\n"
        path.write_text(text)
        path.chmod(0o644 if form == "static" else 0o755)
        return path

    def play(
        self, playbook: str, *arguments: str | Path, form: str = "static"
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook with the inventory."""
        kept = {key: os.environ[key] for key in os.environ if key.startswith(("PIP_", "UV_", "SSL_"))}
        return subprocess.run(
            [sys.executable, Path(sys.executable).parent / "ansible-playbook", f"playbooks/{playbook}.yml",
             "-i", self.write(form), *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
            env={**kept, "PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
                 **self.environment},
        )  # fmt: skip


def dynamic(inventory: dict[str, Any]) -> dict[str, Any]:
    """The inventory as a script prints it."""
    everybody = inventory["all"]
    hosts: dict[str, Any] = {**everybody.get("hosts", {})}
    groups: dict[str, Any] = {}
    for name, group in everybody.get("children", {}).items():
        hosts |= group["hosts"]
        groups[name] = {"hosts": list(group["hosts"]), "vars": group.get("vars", {})}
    return {
        "_meta": {"hostvars": {name: values or {} for name, values in hosts.items()}},
        "all": {"hosts": list(hosts), "vars": everybody.get("vars", {})},
        **groups,
    }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return Place(folder)
