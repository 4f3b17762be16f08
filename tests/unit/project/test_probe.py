"""The probe of an interpreter: its answers, and that old interpreters can run it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import probe

SOURCE = Path(probe.__file__).read_text()


def ask(names: list[str] | None) -> dict[str, Any]:
    command = [sys.executable, "-I", "-c", SOURCE]
    done = subprocess.run(
        command, input=json.dumps(names), capture_output=True, text=True, check=True, timeout=60
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_interpreter_says_who_it_is_without_a_look_at_packages() -> None:
    answer = ask(None)
    assert answer["version"] == "{}.{}.{}".format(*sys.version_info[:3])
    assert answer["platform"]["implementation"] == sys.implementation.name
    assert "installed" not in answer


def test_package_is_found_under_any_spelling_of_its_name() -> None:
    answer = ask(["Python_DOTENV", "no-such-thing"])
    assert answer["failed"] == {"no-such-thing": "is not installed"}
    assert "python-dotenv" in answer["installed"]


@pytest.mark.parametrize("version", [(3, 7), (3, 8), (3, 9)])
def test_older_interpreters_can_parse_it(version: tuple[int, int]) -> None:
    ast.parse(SOURCE, feature_version=version)


def test_it_asks_for_nothing_that_python_3_6_has_not() -> None:
    """``ast`` cannot check for 3.6, whose grammar lacks these."""
    tree = ast.parse(SOURCE)
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.NamedExpr, ast.AnnAssign))]
    assert "from __future__ import annotations" not in SOURCE
