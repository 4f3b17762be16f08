"""The copy that ansible-test looks at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "tools"))

import sanity

OURS = "ansible_collections.local.market.plugins.module_utils"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from ansible.module_utils.audit import page", f"from {OURS}.audit import page"),
        ("from ansible.module_utils import reporting", f"from {OURS} import reporting"),
        ("from ansible.module_utils.basic import Ansi", "from ansible.module_utils.basic import Ansi"),
        ("extends_documentation_fragment: [connection]", "extends_documentation_fragment: [local.market.connection]"),
        ("extends_documentation_fragment: [a, b]", "extends_documentation_fragment: [local.market.a, local.market.b]"),
        ("the module M(health_check)", "the module M(local.market.health_check)"),
    ],
)  # fmt: skip
def test_names_of_the_project_become_those_of_a_collection(text: str, expected: str) -> None:
    assert sanity.renamed(text) == expected


def test_every_module_is_in_the_copy() -> None:
    copied = {path.name for path in sanity.collection() if path.parts[:2] == ("plugins", "modules")}
    assert copied == {path.name for path in (sanity.ROOT / "library").glob("*.py")}


def test_a_shim_that_only_prints_an_error_is_no_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / f"python{sanity.OLDEST}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert sanity.interpreters().get(sanity.OLDEST) != str(shim)


def test_the_script_that_installs_pip_is_there_under_the_name_that_this_ansible_test_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sanity, "CACHE", tmp_path)
    monkeypatch.setattr(sanity, "HOME", tmp_path / "home")
    sanity.environment({})
    command = (
        "from ansible_test._internal.python_requirements import get_venv_packages as packages;"
        " from types import SimpleNamespace; print(packages(SimpleNamespace(version='3.11'))['pip'])"
    )
    asked = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert (tmp_path / f"home/.ansible/test/cache/get_pip_{asked.strip().replace('.', '_')}.py").exists()
