"""Checks that raise an error fail, and the audit continues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.audit import host
from ansible.module_utils.project import managed


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    found: dict[str, Any] = {
        "root": str(root), "protected": ["src"], "artifacts": ["lib"], "packages": ["redis"],
        "python_minimum": "3.9", "api_keys": {"EODHD_API_TOKEN": "t"}, "flags": {}, "extra": None,
        "connection": {"host": "h", "port": 1, "user": "u", "password": "p", "database": "d"},
    }  # fmt: skip
    sections = managed.sections(found["connection"], found["api_keys"], {}, {})
    (root / ".env").write_bytes(managed.plan(None, sections).content)
    (root / ".env").chmod(0o600)
    return found


def nothing(argv: Sequence[str], **more: Any) -> tuple[int, str, str]:
    return 127, "", ""


def failed(params: dict[str, Any]) -> dict[str, str]:
    audit = host.examine(params, lambda root: nothing)
    return {c.name: c.found for c in audit.checks if c.verdict == "fail" and c.group != "Environment"}


def test_root_as_promised(params: dict[str, Any]) -> None:
    assert failed(params) == {}


def test_root_that_is_not_there(params: dict[str, Any]) -> None:
    params["root"] += "/none"
    found = failed(params)
    assert list(found) == ["project root"]
    assert "cannot be opened" in found["project root"]


def test_root_that_can_be_none(params: dict[str, Any]) -> None:
    params["root"] = "/"
    assert "root of the file system" in failed(params)["project root"]


def test_dotenv_that_is_a_link(params: dict[str, Any], tmp_path: Path) -> None:
    path = Path(params["root"]) / ".env"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "cannot be read" in failed(params)[".env"]


def test_value_that_no_dotenv_can_hold(params: dict[str, Any]) -> None:
    params["connection"]["password"] = "a\nsecret"  # noqa: S105 - invented
    found = failed(params)
    assert "POSTGRES_PASSWORD has a line break" in found[".env"]
    assert "secret" not in str(found)


def test_private_folder_that_somebody_put_there(params: dict[str, Any], tmp_path: Path) -> None:
    (Path(params["root"]) / ".reset").symlink_to(tmp_path)
    assert "is not a private folder" in failed(params)[".reset"]


def test_manifest_that_is_damaged(params: dict[str, Any]) -> None:
    run = Path(params["root"]) / ".reset/runs/20261123T041500Z"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text("{")
    assert "is damaged" in failed(params)[".reset"]


def test_requirement_that_is_none(params: dict[str, Any]) -> None:
    params["packages"] = ["-e ."]
    audit = host.examine(params, lambda root: nothing)
    (check,) = [check for check in audit.checks if check.name == "environment"]
    assert "must begin with a package's name" in check.found
