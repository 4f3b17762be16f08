"""What the first host imported, compiled for the others: from the wheels' own sources, and bound to them."""

from __future__ import annotations

import _imp
import importlib.util
import py_compile
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ansible.module_utils.project import bytecode

from tests.unit.project.archives import pack, wheel

HERE = "{}.{}.{}".format(*sys.version_info[:3])
SOURCE = b"ANSWER = 42\n"
SOUND = wheel({"sound/__init__.py": SOURCE, "sound/deep/answer.py": SOURCE})


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit with one wheel of two modules."""
    path = tmp_path / "kit.tar"
    pack(path, {"sound-1.0-py3-none-any.whl": SOUND, "uv": b"program"})
    return path


def unpacked(kit: str, into: Path) -> list[str]:
    """Files of the bytecode in a kit, taken out as a host does it."""
    with tarfile.open(kit) as archive:
        content = archive.extractfile(bytecode.MEMBER)
        assert content is not None
        into.with_name("bytecode").write_bytes(content.read())
    command = [sys.executable, "-m", "tarfile", "-e", str(into.with_name("bytecode")), str(into)]
    subprocess.run(command, check=True, timeout=30)
    return sorted(str(path.relative_to(into)) for path in into.rglob("*") if path.is_file())


def test_what_an_import_compiled_is_told_by_its_sources(tmp_path: Path) -> None:
    (tmp_path / "sound/deep").mkdir(parents=True)
    for name in ("sound/__init__.py", "sound/deep/answer.py", "alone.py"):
        (tmp_path / name).write_bytes(SOURCE)
        py_compile.compile(str(tmp_path / name))
    (tmp_path / "sound/never.py").write_bytes(SOURCE)
    assert bytecode.imported(str(tmp_path)) == "alone.py\nsound/__init__.py\nsound/deep/answer.py"


def test_only_what_was_asked_for_is_compiled(kit: Path, tmp_path: Path) -> None:
    made = bytecode.add(str(kit), "sound/deep/answer.py", HERE)
    cached = Path(importlib.util.cache_from_source("sound/deep/answer.py"))
    assert unpacked(made, tmp_path / "packages") == [str(cached)]


def test_bytecode_is_bound_to_its_source(kit: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (name,) = unpacked(bytecode.add(str(kit), "sound/__init__.py", HERE), packages)
    header = (packages / name).read_bytes()[:16]
    checked = (3).to_bytes(4, "little")
    magic = importlib.util.MAGIC_NUMBER
    assert header == magic + checked + _imp.source_hash(
        int.from_bytes(magic[:2], "little") | 0x0A0D << 16, SOURCE
    )


def test_names_that_no_wheel_holds_lead_nowhere(kit: Path, tmp_path: Path) -> None:
    made = bytecode.add(str(kit), "../evil.py\n/etc/passwd\nsound/none.py", HERE)
    assert unpacked(made, tmp_path / "packages") == []


def test_the_kit_itself_stays_as_it_is(kit: Path) -> None:
    before = kit.read_bytes()
    made = Path(bytecode.add(str(kit), "sound/__init__.py", HERE))
    assert kit.read_bytes() == before
    with tarfile.open(made) as archive:
        assert archive.getnames() == ["sound-1.0-py3-none-any.whl", "uv", bytecode.MEMBER]
    assert sorted(path.name for path in kit.parent.iterdir()) == ["kit.tar", made.name]


@pytest.mark.parametrize("python", ["3.8.1", "4.0.0"])
def test_another_minor_version_gets_the_plain_kit(kit: Path, python: str) -> None:
    assert bytecode.add(str(kit), "sound/__init__.py", python) == str(kit)


def test_source_that_does_not_compile_is_left_out(kit: Path, tmp_path: Path) -> None:
    broken = wheel({"broken.py": b"def\n"})
    pack(kit, {"sound-1.0-py3-none-any.whl": SOUND, "broken-1.0-py3-none-any.whl": broken})
    found = unpacked(bytecode.add(str(kit), "broken.py\nsound/__init__.py", HERE), tmp_path / "packages")
    assert [name.split("/")[0] for name in found] == ["sound"]
