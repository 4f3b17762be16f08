"""Managed keys of ``.env`` are set and the rest survives, as the real python-dotenv reads it.

The file is private and replaced as a whole, and the old one is kept.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import dotenv, managed, stages
from ansible.module_utils.project.quarantine import Manifest, Quarantine
from ansible.module_utils.project.stages import Stage
from ansible.module_utils.reporting import Problem
from dotenv.parser import parse_stream
from hypothesis import assume, example, given

from tests.unit.project.conftest import take
from tests.unit.project.dotenv_texts import files, read

DATABASE = {"DB_URL": "postgresql://u:p@h:5432/d", "POSTGRES_PASSWORD": "it's ${HOME} \\ \"$x` #y "}
OTHERS = {"API Keys": {"EODHD_API_TOKEN": "demo"}, "Environment Flags": {"DEBUG": "false"}}
SECTIONS = {"Database Configuration": DATABASE, **OTHERS}
VALUES = {key: value for values in SECTIONS.values() for key, value in values.items()}


def foreign(content: bytes) -> list[str]:
    """Return the assignments and invalid statements that are not managed, as python-dotenv splits them."""
    text = content.decode("utf-8", "surrogateescape")
    bindings = parse_stream(io.StringIO(text, newline=""))
    return [b.original.string.strip() for b in bindings if (b.key or b.error) and b.key not in VALUES]


@given(files)
@example(b"A='open\n")
@example(b"DB_URL\n\t\nDB_URL\n\0")
@example(b"# API Keys\nDB_URL=x\n# Database Configuration\nFOO=1")
def test_foreign_statements_survive_and_ours_are_read_back(old: bytes) -> None:
    try:
        new = managed.edited(old, SECTIONS).content
    except Problem:
        assume(False)
    assert foreign(new) == foreign(old)
    if b"\xff" not in old:
        try:
            found = read(new)
        except UnicodeDecodeError:
            return
        assert {key: found[key] for key in VALUES} == VALUES


@given(files)
def test_comments_survive_in_order(old: bytes) -> None:
    def comments(content: bytes) -> list[str]:
        statements = dotenv.parse(content.decode("utf-8", "surrogateescape").lstrip("\ufeff"))
        return [s.text.strip() for s in statements if s.valid and s.key is None and s.text.strip()]

    try:
        after = iter(comments(managed.edited(old, SECTIONS).content))
    except Problem:
        assume(False)
    assert all(comment in after for comment in comments(old))


@given(files)
@example(b"DEBUG=true\n# API Keys\n# Environment Flags\nFOO=1\n")
def test_a_second_plan_changes_nothing_and_each_key_is_under_its_heading(old: bytes) -> None:
    try:
        first = managed.edited(old, SECTIONS)
    except Problem:
        assume(False)
    text = first.content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    assert managed.astray(text, SECTIONS) == []
    second = managed.edited(first.content, SECTIONS)
    assert second.content == first.content
    assert second.unchanged == list(VALUES)


def plan_text(old: str) -> str:
    plain = {"Database Configuration": {**DATABASE, "POSTGRES_PASSWORD": "pw"}, **OTHERS}
    return str(managed.edited(old.encode(), plain).content, "utf-8")


def test_a_new_file_has_the_three_headings() -> None:
    assert managed.edited(None, OTHERS).content.decode() == (
        "# API Keys\nEODHD_API_TOKEN=demo\n\n# Environment Flags\nDEBUG=false\n"
    )


def test_keys_are_replaced_in_place_and_missing_ones_added_under_their_heading() -> None:
    old = "# Ours\r\nexport FOO=bar\n\nDB_URL=old\n\n\n# AI\nKEY=x # y\nEODHD_API_TOKEN=old"
    assert plan_text(old) == (
        "# Ours\r\nexport FOO=bar\n\n# Database Configuration\nDB_URL=postgresql://u:p@h:5432/d\n"
        "POSTGRES_PASSWORD=pw\n\n\n# AI\nKEY=x # y\n# API Keys\nEODHD_API_TOKEN=demo\n"
        "\n# Environment Flags\nDEBUG=false\n"
    )


def test_of_a_repeated_key_the_first_stays() -> None:
    assert plan_text("DB_URL=1\nFOO=${DB_URL}\nDB_URL=2\n").count("DB_URL=") == 1
    assert plan_text("DB_URL=1\nFOO=${DB_URL}\nDB_URL=2\n").index("DB_URL=") < plan_text("FOO=1\n").index(
        "DEBUG"
    )


def test_a_comment_behind_a_value_of_ours_gets_a_line_of_its_own() -> None:
    assert "# keep\nDEBUG=false\n" in plan_text("DEBUG=true  # keep\n")


def test_a_byte_order_mark_stays_at_the_start() -> None:
    assert plan_text("\ufeffFOO=1\n").startswith("\ufeffFOO=1\n")


def test_a_key_within_a_foreign_value_is_left_alone() -> None:
    assert "NOTE='x\nDB_URL=inner\n'\n" in plan_text("NOTE='x\nDB_URL=inner\n'\n")


def test_a_key_moves_up_to_its_heading() -> None:
    text = plan_text("# API Keys\nOTHER=1\n# Environment Flags\nEODHD_API_TOKEN=x # mine\n")
    assert text.startswith(
        "# API Keys\n# mine\nEODHD_API_TOKEN=demo\nOTHER=1\n# Environment Flags\nDEBUG=false\n"
    )


def test_an_open_quote_that_would_swallow_our_keys_is_named() -> None:
    with pytest.raises(Problem, match="line 2"):
        managed.edited(b"A=1\nB='open\n", {"API Keys": {"T": "a b"}})


def test_lines_that_python_dotenv_cannot_read_are_noted() -> None:
    notes = managed.edited(b"A=1\nthis is nothing\n\xff=1\n", SECTIONS).notes
    assert [("line 2" in note, "line 3" in note) for note in notes] == [(False, True), (True, False)]


@pytest.mark.parametrize("value", ["Xy\nXy", "Xy\rXy", "Xy\0Xy", "Xy\ud800", None, ["Xy"]])
def test_a_value_that_no_file_carries_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(Problem, match="POSTGRES_PASSWORD.*postgres_password") as caught:
        managed.text_of("POSTGRES_PASSWORD", value, "postgres_password")
    assert "Xy" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "1A", "A B", "A=B", "É", "A\n"])
def test_a_name_that_no_shell_takes_is_refused(key: str) -> None:
    with pytest.raises(Problem, match="project_env"):
        managed.text_of(key, "x", "project_env")


def test_native_values_become_text() -> None:
    assert [managed.text_of("A", value, "v") for value in (True, False, 5432, "x")] == [
        "true",
        "false",
        "5432",
        "x",
    ]


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
    real = stages.clean

    def planned(*arguments: Any) -> Stage:
        stage = real(*arguments)

        def slowly(quarantine: Quarantine, run: Manifest) -> Manifest:
            (polluted / ".env").write_text("OLD=1\nLATER=2\n")
            return stage.apply(quarantine, run)

        return replace(stage, apply=slowly)

    monkeypatch.setattr(stages, "clean", planned)
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
