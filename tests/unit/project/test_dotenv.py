"""The syntax of ``.env``, compared with the real python-dotenv and bash."""

from __future__ import annotations

import io
import shutil
import subprocess

import pytest
from ansible.module_utils.project import dotenv
from dotenv.parser import parse_stream
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.project.dotenv_texts import files, read, value_texts


@given(value_texts)
@example("a\\")
@example("${HOME}")
@example("$${A}\\${")
@example("it's $5")
def test_any_value_of_one_line_comes_back_through_python_dotenv(value: str) -> None:
    content = f"A={dotenv.encode(value)}\nB='x\"'\n".encode()
    assert read(content) == {"A": value, "B": 'x"'}


@pytest.mark.parametrize(
    "value", ["password", "postgresql://postgres:password@localhost:5432/data_nexus", ""]
)
def test_plain_values_stand_unquoted(value: str) -> None:
    assert dotenv.encode(value) == value


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
@settings(max_examples=20)
@given(st.lists(value_texts, min_size=1, max_size=30))
def test_bash_reads_the_same_but_for_the_documented_values(values: list[str]) -> None:
    def conflict(value: str) -> bool:
        both = any(sign in value for sign in "'\\") and any(sign in value for sign in "$`")
        return "${" in value or value.endswith("\\") or both

    agreed = [value for value in values if not conflict(value)]
    script = "".join(f"A={dotenv.encode(value)}\nprintf '%s\\0' \"$A\"\n" for value in agreed)
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == agreed


@given(files)
def test_statements_are_those_of_python_dotenv(content: bytes) -> None:
    text = (
        content.decode("utf-8", "surrogateescape").lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    )
    ours = [(s.blank + s.text, s.key, s.value, not s.valid) for s in dotenv.parse(text)]
    theirs = [(b.original.string, b.key, b.value, b.error) for b in parse_stream(io.StringIO(text))]
    assert ours == theirs
