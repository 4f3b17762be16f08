"""Every command of the Makefile hands ARGS on, but those of which the help says that they take none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORD = "--further-argument"
COMMANDS = re.findall(r"(?m)^(?!help)([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text())


def make(*arguments: str) -> str:
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_hands_further_arguments_on_or_the_help_says_that_it_takes_none(command: str) -> None:
    none = re.search(r"\((.*) take none\)", make())
    assert none
    # --assume-old: what is asked for is this command, not what it needs.
    planned = make("--dry-run", f"ARGS={WORD}", "--assume-old=setup", "--assume-old=setup-test", command)
    assert (WORD in planned) != (command in re.split(r", | and ", none[1])), planned
