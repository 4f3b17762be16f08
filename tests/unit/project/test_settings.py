"""``.env`` is private and replaced as a whole, and the old one is kept."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import clean
from ansible.module_utils.project.quarantine import Manifest, Quarantine
from ansible.module_utils.project.stages import Stage
from ansible.module_utils.reporting import Problem

from tests.unit.project.conftest import take


@pytest.fixture
def asked(params: dict[str, Any], connection: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the stage dotenv."""
    keys = {"api_keys": {"EODHD_API_TOKEN": "demo"}, "flags": {"DEBUG": False}, "extra": {}}
    return {**params, "connection": connection, **keys}


def ensure(asked: dict[str, Any], check: bool = False) -> dict[str, Any]:
    return take(asked, "dotenv", check=check)


def kept(polluted: Path) -> list[Path]:
    return list(polluted.glob(".reset/runs/*/kept/.env"))


def test_file_is_private_and_a_second_run_leaves_it(asked: dict[str, Any], polluted: Path) -> None:
    assert ensure(asked)["changed"]
    before = (polluted / ".env").stat()
    assert before.st_mode & 0o7777 == 0o600
    assert not ensure(asked)["changed"]
    assert (polluted / ".env").stat() == before


def test_check_mode_writes_nothing(asked: dict[str, Any], polluted: Path) -> None:
    assert ensure(asked, check=True)["changed"]
    assert (polluted / ".env").read_text() == "OLD=1\n"
    assert not (polluted / ".reset").exists()


def test_old_file_is_kept_as_it_was(asked: dict[str, Any], polluted: Path) -> None:
    inode = (polluted / ".env").stat().st_ino
    ensure(asked)
    assert [path.stat().st_ino for path in kept(polluted)] == [inode]
    assert (polluted / ".env").read_text().startswith("OLD=1\n\n# Database Configuration\n")


def test_what_others_write_while_a_stage_before_works_is_kept(
    asked: dict[str, Any], polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clean.plan

    def planned(*arguments: Any) -> Stage:
        stage = real(*arguments)

        def slowly(quarantine: Quarantine, run: Manifest) -> Manifest:
            (polluted / ".env").write_text("OLD=1\nLATER=2\n")
            return stage.apply(quarantine, run)

        return replace(stage, apply=slowly)

    monkeypatch.setattr(clean, "plan", planned)
    take(asked, "clean", "dotenv")
    assert (polluted / ".env").read_text().startswith("OLD=1\nLATER=2\n")


def test_wrong_mode_is_a_change(asked: dict[str, Any], polluted: Path) -> None:
    ensure(asked)
    (polluted / ".env").chmod(0o644)
    result = ensure(asked)
    assert result["changed"]
    assert not result["managed"]["changed"]
    assert (polluted / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_the_file_to_the_owner_of_the_project(asked: dict[str, Any], polluted: Path) -> None:
    ensure(asked)
    os.chown(polluted, 12345, 12345)
    assert ensure(asked)["changed"]
    assert (polluted / ".env").stat().st_uid == 12345


def test_failure_leaves_the_old_file_and_no_other(
    asked: dict[str, Any], polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Quarantine, "displace", fail)
    with pytest.raises(Problem, match="No space left on device: the disk is full"):
        ensure(asked)
    assert (polluted / ".env").read_text() == "OLD=1\n"
    assert list((polluted / ".reset/build").iterdir()) == []


def test_link_is_refused_and_not_followed(asked: dict[str, Any], polluted: Path) -> None:
    (polluted / ".env").unlink()
    (polluted / ".env").symlink_to("src/app.py")
    with pytest.raises(Problem, match="is a link"):
        ensure(asked)
    assert (polluted / "src/app.py").read_text() == "print('kept')\n"


def test_folder_is_refused(asked: dict[str, Any], polluted: Path) -> None:
    (polluted / ".env").unlink()
    (polluted / ".env").mkdir()
    with pytest.raises(Problem, match="is not a file"):
        ensure(asked)


def test_diff_names_keys_and_shows_no_value(asked: dict[str, Any], polluted: Path) -> None:
    (polluted / ".env").write_text("DEBUG=true\nFOO=foreign\nEODHD_API_TOKEN=demo\n")
    result = ensure(asked, check=True)
    assert result["managed"]["changed"] == ["DEBUG"]
    assert "EODHD_API_TOKEN" in result["managed"]["unchanged"]
    assert "DEBUG=*** (new)" in result["diff"][0]["after"]
    for secret in ("postgresql", "it's", "demo", "foreign"):
        assert secret not in str(result)
