"""Every command of every document, typed as written in a clone of the project; a document that lies fails here.

The clone is a scratch one. The stand-in answers for EODHD.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from standin.process import StandIn

from tests.engines import Database

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = (
    "make",
    "ansible-playbook",
    "ansible-vault",
    "ansible-inventory",
    "ansible-doc",
    "molecule",
    "pytest",
    "git",
    "pre-commit",
    "ssh",
)
# What is not run here and why; that it exists is looked at all the same.
PART = "is part of make test or CI, or takes longer than all of that"
NOT_RUN = {
    r"make (test|lint|unit|integration|safety|faults|fleet( docs)?|molecule|engines|bench|lock|reference|setup)": PART,
    r"pytest tests/(secrets|faults)": PART,
    r"make clean": "would take the environment away that runs this",
    r"pre-commit install": "pre-commit is the contributor's own",
}
# What is typed for the vault's password, and what the editor leaves in the vault.
PASSWORD, SECRET = "the vault's own", "only-in-the-vault"  # noqa: S105 - invented
# Hosts that are no machine of ours; the play is only read.
ELSEWHERE = re.compile(r"-i (inventory/\S+|\S*hosts\S*)")


def commands(document: Path) -> list[str]:
    """The commands of a document in order: lines of ``sh`` blocks, and code within a line that names a program."""
    found: list[str] = []
    block = None
    for line in document.read_text().splitlines():
        if line.startswith("```"):
            block = line[3:] if block is None else None
        elif block == "sh":
            found.append(line)
        elif block is None:
            found += re.findall(r"`([^`]+)`", line)
    plain = (re.split(r"\s#", command)[0].strip() for command in found)
    return [command for command in plain if command.split(" ")[0] in PROGRAMS and " " in command]


# Each once, where it is read first: typed twice it does the same.
CASES: dict[str, str] = {}
for document in DOCUMENTS:
    for command in commands(document):
        CASES.setdefault(command, document.name)
# What the fixture types; it resets a fresh sandbox.
FIRST = "make picture"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what git has, with this environment, and the sandbox reset once, of which a picture is drawn."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in files.decode().split("\0"):
        source = ROOT / name
        if name and source.exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    editor = folder.parent / "editor"
    editor.write_text(f"#!/bin/sh\necho 'vault_postgres_password: {SECRET}' > \"$1\"\n")
    editor.chmod(0o700)
    with StandIn("--universe", "200") as standin:
        with (folder / "group_vars/sandbox/main.yml").open("a") as settings:
            settings.write(f"eodhd_base_url: {standin.url}\n")
        try:
            run(folder, FIRST)
            yield folder
        finally:
            run(folder, "make sandbox-stop")


def run(folder: Path, command: str) -> str:
    """Type a command as a user does; its output. It has to end well."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def run_with_password(folder: Path, command: str, **more: str) -> str:
    """Type a command at a terminal, and the vault's password as often as it asks for one; its output."""
    said: list[str] = []
    with pexpect.spawn(
        "sh", ["-c", command], cwd=str(folder), env=environment(folder) | more, timeout=60, encoding="utf-8"
    ) as terminal:
        while terminal.expect(["assword[^\n]*: ?$", pexpect.EOF]) == 0:
            said.append(terminal.before)
            terminal.sendline(PASSWORD)
        said.append(terminal.before)
    output = "".join(said)
    assert terminal.exitstatus == 0, f"{command}\n{output[-3000:]}"
    return output


def environment(folder: Path) -> dict[str, str]:
    kept = ("LANG", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PATH": f"{folder}/.venv/bin:{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "LC_ALL": "C.UTF-8",
        "EDITOR": str(folder.parent / "editor"),
    }


def excused(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


@pytest.mark.parametrize("command", CASES, ids=[f"{name}: {command}" for command, name in CASES.items()])
def test_the_command_does_what_the_document_says(clone: Path, command: str) -> None:
    if "…" in command or re.search(r"\b[A-Z]{4,}\b(?!=)", command.replace("ARGS", "")):
        pytest.skip("a pattern, not a command")
    if excused(command):
        exists(command)
        return
    if command == FIRST:
        return
    if command.startswith("ansible-vault create"):
        (clone / command.split()[-1].replace("~", str(clone.parent))).unlink(missing_ok=True)
    if command.startswith("ansible-playbook") and ELSEWHERE.search(command):
        command = f"{ELSEWHERE.sub('-i inventory/example.yml', command)} --syntax-check"
    asks = command.startswith("ansible-vault") or " -J" in command
    said = run_with_password(clone, command) if asks else run(clone, command)
    assert (SECRET in said) == command.startswith("ansible-inventory")


def test_a_real_host_as_the_readme_says(clone: Path, tmp_path: Path, postgres_server: Database) -> None:
    """The README's inventory and commands from an empty folder, with addresses and a root of this machine."""
    root, production, secrets = tmp_path / "root", tmp_path / "production", tmp_path / "editor"
    inventory, typed = blocks("## A real host")
    for name in ("src", "scripts", "docs", ".git", "bin"):
        (root / name).mkdir(parents=True)
    production.mkdir()
    inventory = inventory.replace("/srv/market-data", str(root)).replace("192.0.2.20", postgres_server.host)
    assert str(root) in inventory
    assert f"postgres_host: {postgres_server.host}" in inventory
    (production / "hosts.yml").write_text(inventory)
    (production / "host_vars").mkdir()
    (production / "host_vars/hub.yml").write_text(json.dumps({
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
        "ansible_remote_tmp": str(tmp_path / "tmp"), "postgres_port": postgres_server.port,
        "project_packages": ["psycopg2-binary", "python-dotenv"], "project_index_urls": [""], "project_space_mb": 1,
        "health_token": False, "health_redis": False, "health_disk_warn": 0, "health_disk_fail": 0,
    }))  # fmt: skip
    vault = json.dumps({"vault_postgres_password": postgres_server.password, "vault_eodhd_api_token": "demo"})
    (tmp_path / "vault").write_text(vault)
    secrets.write_text(f'#!/bin/sh\ncp {tmp_path}/vault "$1"\n')
    secrets.chmod(0o700)
    try:
        said = ""
        for command in typed.splitlines():
            said = run_with_password(clone, command, HOME=str(tmp_path), EDITOR=str(secrets))
        assert "✅ System Healthy" in said
        assert sorted(path.name for path in root.iterdir() if path.name in ("bin", "venv")) == ["venv"]
        # The third would let this machine run it all by itself: tests/schedule/trial.py types it on one that is for it.
        edit, plan, _ = blocks("## On a schedule")[0].splitlines()
        run_with_password(clone, edit, HOME=str(tmp_path), EDITOR=str(secrets))
        said = run_with_password(clone, f"{plan.partition(' #')[0]} || true", HOME=str(tmp_path))
        # Not every machine has systemd, or one that answers.
        assert re.search(r"\+OnCalendar=|systemd does not answer here|A schedule needs systemd", said), said
    finally:
        postgres_server.run("DROP DATABASE IF EXISTS data_nexus WITH (FORCE)")


def blocks(title: str) -> list[str]:
    """The blocks of a section of the README."""
    section = (ROOT / "README.md").read_text().partition(title)[2].partition("## ")[0]
    found: list[str] = re.findall(r"```(?:yaml|sh)\n(.*?)```", section, re.DOTALL)
    return found


def exists(command: str) -> None:
    program, name = command.split(" ")[:2]
    if program == "make":
        assert re.search(rf"^(.*\s)?{name}(:|\s.*:)", (ROOT / "Makefile").read_text(), re.MULTILINE), command


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_every_excuse_is_needed(pattern: str) -> None:
    assert any(re.fullmatch(pattern, command) for command in CASES)
