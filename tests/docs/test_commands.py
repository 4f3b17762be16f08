"""Every command of every document, typed as written in a clone of the project; a document that lies fails here.

The clone is a scratch one: its sandbox has a port of its own, and the stand-in answers for EODHD.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.sandbox import postgres
from standin.process import StandIn

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = (
    "make",
    "ansible-playbook",
    "ansible-vault",
    "ansible-doc",
    "molecule",
    "pytest",
    "git",
    "pre-commit",
    "ssh",
)
# What is not run here and why; that it exists is looked at all the same.
PART = "is part of make test, or takes longer than all of it"
NOT_RUN = {
    r"make (test|lint|unit|integration|safety|faults|fleet|molecule|bench|lock|reference|setup)": PART,
    r"molecule test.*": PART,
    r"pytest tests/(secrets|faults)": PART,
    r"make clean": "would take the environment away that runs this",
    r"pre-commit install": "pre-commit is the contributor's own",
    r"ansible-vault .*": "asks for a password at a terminal",
}
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


CASES = [(document.name, command) for document in DOCUMENTS for command in dict.fromkeys(commands(document))]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what git has, with this environment, and the sandbox reset once."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in files.decode().split("\0"):
        source = ROOT / name
        if name and source.exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    with StandIn("--universe", "200") as standin:
        edit(
            folder / "group_vars/sandbox/main.yml",
            r"sandbox_port: .*",
            f"sandbox_port: {postgres.free_port()}",
        )
        edit(folder / "group_vars/all/eodhd.yml", r"eodhd_base_url: .*", f"eodhd_base_url: {standin.url}")
        try:
            run(folder, "make reset")
            yield folder
        finally:
            run(folder, "make sandbox-stop")


def edit(path: Path, pattern: str, line: str) -> None:
    text, count = re.subn(pattern, line, path.read_text())
    assert count == 1, f"{path}: {pattern}"
    path.write_text(text)


def run(folder: Path, command: str) -> str:
    """Type a command as a user does; its output. It has to end well."""
    kept = ("LANG", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {
        "PATH": f"{folder}/.venv/bin:{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def excused(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


@pytest.mark.parametrize(
    ("document", "command"), CASES, ids=[f"{name}: {command}" for name, command in CASES]
)
def test_the_command_does_what_the_document_says(clone: Path, document: str, command: str) -> None:
    if "…" in command or re.search(r"\b[A-Z]{4,}\b(?!=)", command.replace("ARGS", "")):
        pytest.skip("a pattern, not a command")
    if excused(command):
        exists(command)
        return
    if ELSEWHERE.search(command):
        play = ELSEWHERE.sub("-i inventory/example.yml", command.replace(" -J", ""))
        run(clone, f"{play} --syntax-check")
        return
    run(clone, command)


def exists(command: str) -> None:
    program, name = command.split(" ")[:2]
    if program == "make":
        assert re.search(rf"^(.*\s)?{name}(:|\s.*:)", (ROOT / "Makefile").read_text(), re.MULTILINE), command
    if program == "molecule":
        assert (ROOT / "molecule/default/molecule.yml").exists()


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_every_excuse_is_needed(pattern: str) -> None:
    assert any(re.fullmatch(pattern, command) for _, command in CASES)
