"""Each check of a root's files, passed and failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.audit import files
from ansible.module_utils.audit.model import Judgement
from ansible.module_utils.project import managed
from ansible.module_utils.project.root import Directory

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
    (folder / ".env").write_bytes(managed.plan(FOREIGN, SECTIONS).content)
    (folder / ".env").chmod(0o600)
    return folder


def failures(checks: list[Judgement]) -> dict[str, str]:
    assert checks
    return {check.name: check.found for check in checks if check.verdict != "pass"}


def artifacts(root: Path) -> dict[str, str]:
    with Directory.open(str(root)) as opened:
        return failures(list(files.artifacts(opened, ["lib", "lib64", "venv"])))


def test_artifacts_are_gone(root: Path) -> None:
    assert artifacts(root) == {}


def test_artifact_that_stayed_even_as_a_dangling_link(root: Path) -> None:
    (root / "lib64").symlink_to("lib")
    assert artifacts(root) == {"artifact lib64": "link to lib"}


def test_protected_name_that_is_gone(root: Path) -> None:
    with Directory.open(str(root)) as opened:
        assert failures(list(files.protected(opened, ["src", "docs"]))) == {"protected docs": "missing"}


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
        return failures(list(files.environment(opened, ["redis>=5"], "3.9", programs)))


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
        checks = list(files.settings(opened, SECTIONS, URL))
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
        (check,) = files.foreign(opened, FOREIGN + b"DB_URL=old\n", "/kept/.env", ours)
    return check.verdict, check.found


def test_foreign_keys_are_kept(root: Path) -> None:
    assert foreign(root) == ("pass", "2 of 2")


def test_foreign_key_that_is_gone(root: Path) -> None:
    change(root, "AI_KEY=abc\n", "")
    assert foreign(root) == ("fail", "missing: AI_KEY")


def test_foreign_key_of_another_value_is_a_warning(root: Path) -> None:
    change(root, "AI_KEY=abc", "AI_KEY=new")
    assert foreign(root) == ("warn", "changed since: AI_KEY")
