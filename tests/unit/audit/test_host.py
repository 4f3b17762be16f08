"""The checks of a host: each passed and failed; one that raises an error fails, and the audit continues."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.audit import host
from ansible.module_utils.audit.model import Judgement
from ansible.module_utils.project import managed, opening
from ansible.module_utils.project.quarantine import BUILD, Manifest, Quarantine
from ansible.module_utils.project.root import Directory


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
    (root / ".env").write_bytes(managed.edited(None, sections).content)
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


# --- the root's files --------------------------------------------------------------------------------------

CONNECTION = {"host": "db", "port": 5432, "user": "trader", "password": "p'w ${X}", "database": "market"}
SECTIONS = managed.sections(CONNECTION, {"EODHD_API_TOKEN": "t0ken"}, {"DEBUG": False}, {"OWN": "1"})
URL = "postgresql://trader:***@db:5432/market"
FOREIGN = b"AI_KEY=abc\nREDIS_HOST=cache\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root as a reset leaves it."""
    folder = tmp_path / "project"
    (folder / "venv/bin").mkdir(parents=True)
    (folder / "src").mkdir()
    for script in ("activate", "pip", "python"):
        (folder / "venv/bin" / script).touch()
    (folder / "venv/.reset.json").write_text(json.dumps({"asked": ["redis>=5"]}))
    (folder / ".env").write_bytes(managed.edited(FOREIGN, SECTIONS).content)
    (folder / ".env").chmod(0o600)
    return folder


def failures(checks: list[Judgement]) -> dict[str, str]:
    assert checks
    return {check.name: check.found for check in checks if check.verdict != "pass"}


def artifacts(root: Path) -> dict[str, str]:
    with Directory.open(str(root)) as opened:
        return failures(list(host.artifacts(opened, ["lib", "lib64", "venv"])))


def test_artifacts_are_gone(root: Path) -> None:
    assert artifacts(root) == {}


def test_artifact_that_stayed_even_as_a_dangling_link(root: Path) -> None:
    (root / "lib64").symlink_to("lib")
    assert artifacts(root) == {"artifact lib64": "link to lib"}


def test_protected_name_that_is_gone(root: Path) -> None:
    with Directory.open(str(root)) as opened:
        assert failures(list(host.protected(opened, ["src", "docs"]))) == {"protected docs": "missing"}


class Programs:
    """Answers for the environment's programs."""

    def __init__(self, root: Path) -> None:
        self.venv = f"{root}/venv"
        self.prefix, self.pip = self.venv, f"pip 26.0 from {self.venv}/lib/pip (python 3.11)"
        self.probed: dict[str, Any] | None = {
            "version": "3.11.7",
            "installed": {"redis": "8.1.0"},
            "failed": {},
        }

    def __call__(self, argv: Sequence[str], **more: Any) -> tuple[int, str, str]:
        if argv[0] == "sh":
            return (0, f"{self.prefix}\n", "") if self.prefix else (127, "", "")
        if argv[0].endswith("pip"):
            return (0, self.pip, "") if self.pip else (1, "", "broken")
        assert argv[1] == "-B"
        return (0, f"\n{json.dumps(self.probed)}\n", "") if self.probed else (127, "", "")


def environment(root: Path, programs: Programs) -> dict[str, str]:
    with Directory.open(str(root)) as opened:
        return failures(list(host.environment(opened, ["redis>=5"], "3.9", programs)))


def test_environment_works(root: Path) -> None:
    assert environment(root, Programs(root)) == {}


def test_activate_that_leads_elsewhere(root: Path) -> None:
    programs = Programs(root)
    programs.prefix = "/usr"
    assert environment(root, programs) == {"venv/bin/activate": "/usr"}


def test_pip_that_does_not_work(root: Path) -> None:
    programs = Programs(root)
    programs.pip = ""
    assert environment(root, programs) == {"venv/bin/pip": "does not work (code 1)"}


def test_pip_of_another_environment(root: Path) -> None:
    programs = Programs(root)
    programs.pip = "pip 26.0 from /usr/lib/pip (python 3.11)"
    assert environment(root, programs) == {"venv/bin/pip": "does not work (code 0)"}


def test_python_below_the_minimum(root: Path) -> None:
    programs = Programs(root)
    programs.probed = {"version": "3.6.8", "installed": {"redis": "8.1.0"}, "failed": {}}
    assert environment(root, programs) == {"venv/bin/python": "Python 3.6.8"}


def test_package_that_does_not_import(root: Path) -> None:
    programs = Programs(root)
    programs.probed = {"version": "3.9.1", "installed": {}, "failed": {"redis": "is not installed"}}
    assert environment(root, programs) == {"package redis": "is not installed"}


def test_environment_for_other_packages(root: Path) -> None:
    (root / "venv/.reset.json").write_text(json.dumps({"asked": ["redis"]}))
    assert environment(root, Programs(root)) == {"venv built and proven for": "redis"}


def test_no_environment_at_all(root: Path) -> None:
    programs = Programs(root)
    programs.prefix, programs.pip, programs.probed = "", "", None
    (root / "venv/.reset.json").unlink()
    assert set(environment(root, programs)) == {
        "venv/bin/activate", "venv/bin/pip", "venv/bin/python", "venv built and proven for", "package redis",
    }  # fmt: skip


def settings(root: Path) -> dict[str, str]:
    with Directory.open(str(root)) as opened:
        checks = list(host.settings(opened, SECTIONS, URL))
    for secret in (str(CONNECTION["password"]), "t0ken"):
        assert not [check for check in checks if secret in str(check)]
    return failures(checks)


def change(root: Path, old: str, new: str) -> None:
    text = (root / ".env").read_text()
    assert old in text
    (root / ".env").write_text(text.replace(old, new))


def test_settings_are_as_asked(root: Path) -> None:
    assert settings(root) == {}


def test_open_mode(root: Path) -> None:
    (root / ".env").chmod(0o640)
    assert settings(root) == {".env mode": "0640"}


def test_value_that_was_changed_is_named_and_not_shown(root: Path) -> None:
    change(root, "t0ken", "other")
    assert settings(root) == {".env values": "missing or different: EODHD_API_TOKEN"}


def test_database_url_that_was_changed(root: Path) -> None:
    change(root, "DB_URL=postgresql://trader", "DB_URL=postgresql://other")
    assert set(settings(root)) == {".env DB_URL", ".env values"}


def test_database_url_in_other_words(root: Path) -> None:
    change(root, "DB_URL=", "export DB_URL=")
    assert settings(root) == {".env DB_URL": "no such line"}


def test_key_that_stands_twice(root: Path) -> None:
    change(root, "DEBUG=false\n", "DEBUG=false\nDEBUG=false\n")
    assert settings(root) == {".env keys": "not once: DEBUG"}


def test_heading_that_is_gone(root: Path) -> None:
    change(root, "# API Keys\n", "")
    assert settings(root) == {".env headings": "not under its heading: EODHD_API_TOKEN"}


def test_no_dotenv_at_all(root: Path) -> None:
    (root / ".env").unlink()
    assert set(settings(root)) == {".env mode", ".env keys", ".env DB_URL", ".env values", ".env headings"}


def foreign(root: Path) -> tuple[str, str]:
    ours = [key for values in SECTIONS.values() for key in values]
    with Directory.open(str(root)) as opened:
        (check,) = host.foreign(opened, FOREIGN + b"DB_URL=old\n", "/kept/.env", ours)
    return check.verdict, check.found


def test_foreign_keys_are_kept(root: Path) -> None:
    assert foreign(root) == ("pass", "2 of 2")


def test_foreign_key_that_is_gone(root: Path) -> None:
    change(root, "AI_KEY=abc\n", "")
    assert foreign(root) == ("fail", "missing: AI_KEY")


def test_foreign_key_of_another_value_is_a_warning(root: Path) -> None:
    change(root, "AI_KEY=abc", "AI_KEY=new")
    assert foreign(root) == ("warn", "changed since: AI_KEY")


# --- its runs ----------------------------------------------------------------------------------------------


class Estate:
    """A root with a reset that moved ``lib`` and replaced ``.env``."""

    def __init__(self, folder: Path) -> None:
        (folder / "lib").mkdir()
        (folder / "lib/a").write_text("12345")
        (folder / ".env").write_text("OLD=1\n")
        self.root = Directory.open(str(folder))
        self.quarantine = quarantine = Quarantine.make(self.root)
        quarantine.prepare()
        self.run: Manifest = quarantine.begin("reset")
        self.run = quarantine.displace(self.run, ["lib"])
        with quarantine.state.enter(BUILD) as build:
            build.write_new(".env", b"NEW=1\n")
            self.run = quarantine.displace(self.run, [".env"], put=build)


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


def found(quarantine: Quarantine | None) -> dict[str, Judgement]:
    return {check.name: check for check in host.runs(quarantine)}


def test_a_root_that_was_never_reset_has_neither_runs_nor_a_lock() -> None:
    assert {check.verdict for check in found(None).values()} == {"pass"}


def test_run_that_was_cut_off(estate: Estate) -> None:
    check = found(estate.quarantine)["unfinished runs"]
    assert (check.verdict, check.found) == ("fail", estate.run.name)
    estate.quarantine.close(estate.run)
    assert found(estate.quarantine)["unfinished runs"].verdict == "pass"


def test_lock_that_another_run_holds(estate: Estate) -> None:
    with opening.held(estate.quarantine.state):
        opening.sign(estate.quarantine.state)
        check = found(estate.quarantine)["lock"]
    assert check.verdict == "fail"
    assert f"pid {os.getpid()}" in check.found
    assert found(estate.quarantine)["lock"].verdict == "pass"


def test_last_reset_tells_what_it_moved_and_how_to_undo_it(estate: Estate) -> None:
    estate.quarantine.close(estate.run)
    told: Any = host.last_reset(estate.quarantine)
    assert told["undo"] == f"ansible-playbook playbooks/restore.yml -e restore_run={estate.run.name}"
    assert told["entries"] == [
        {"name": "lib", "what": "moved away", "kept": "directory, 1 file, 5 B"},
        {"name": ".env", "what": "replaced", "kept": "file, 6 B"},
    ]


def test_last_reset_of_which_nothing_is_left_cannot_be_undone(estate: Estate) -> None:
    with estate.quarantine.state.enter("runs") as kept, kept.enter(estate.run.name) as run:
        for name in ("lib", ".env"):
            with run.enter("kept") as folder:
                folder.remove(name)
    told: Any = host.last_reset(estate.quarantine)
    assert told["undo"] is None


def test_dotenv_of_before_the_last_reset(estate: Estate) -> None:
    before: Any = host.dotenv_before(estate.quarantine)
    assert before[0] == b"OLD=1\n"
    assert Path(before[1]).read_bytes() == b"OLD=1\n"


# --- its health --------------------------------------------------------------------------------------------

HEALTHY: dict[str, Any] = {
    "healthy": True,
    "tables": {"market_data": 2100, "assets": 1},
    "estimated": ["market_data"],
    "checks": [
        {"check": "settings", "level": "ok", "message": "fine", "expects": "every key"},
        {"check": "tables", "level": "ok", "message": "a", "expects": "rows"},
        {"check": "tables", "level": "ok", "message": "b", "expects": "rows"},
    ],
}


def healthy(**changed: Any) -> dict[str, Judgement]:
    checks = host.health({**HEALTHY, **changed}, ["market_data", "assets"])
    return {check.name: check for check in checks}


def test_each_check_once_with_what_it_expects() -> None:
    checks = healthy()
    assert {check.verdict for check in checks.values()} == {"pass"}
    assert set(checks) == {"health", "health: settings", "health: tables", "rows market_data", "rows assets"}
    assert checks["health: settings"].expected == "every key"
    assert checks["rows market_data"].found == "about 2,100 rows"
    assert checks["rows assets"].found == "1 row"


@pytest.mark.parametrize(("level", "verdict"), [("warn", "warn"), ("fail", "fail"), ("odd", "fail")])
def test_worst_finding_decides_and_is_shown(level: str, verdict: str) -> None:
    findings = [
        *HEALTHY["checks"],
        {"check": "tables", "level": level, "message": "locked", "expects": "rows"},
    ]
    check = healthy(checks=findings)["health: tables"]
    assert (check.verdict, check.found) == (verdict, "locked")


def test_unhealthy_host() -> None:
    assert healthy(healthy=False)["health"].verdict == "fail"


def test_health_check_that_broke_off() -> None:
    checks = {check.name: check for check in host.health({"failed": True, "msg": "no reply"}, ["assets"])}
    assert (checks["health"].verdict, checks["health"].found) == ("fail", "no reply")
    assert (checks["rows assets"].verdict, checks["rows assets"].found) == ("fail", "not counted")


def test_empty_table_is_a_warning_that_names_the_backfill() -> None:
    check = healthy(tables={"market_data": 0, "assets": 1})["rows market_data"]
    assert check.verdict == "warn"
    assert "playbooks/backfill.yml" in check.advice
